"""The denoiser: from a noisy image and a time to a clean image and the noise in it.

Networks are trained to predict one of three things, each a mixture of the same two unknowns x_0 and epsilon. `Denoiser`
hides which, so that a sampler reads only `prediction.x_0` and `prediction.epsilon`. Any module
(x, t) -> output will do; the networks of diffusers, on disk or on the hub, are the ones it can save.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from ..checks import check_images, instance, integer, number, positive_integer
from ..errors import ImageError, TiramisuError, known_name
from ..files import loaded, save_safetensors, with_weights
from .networks import Autoencoder, build_network, network_config
from .pretrained import Clip, read_pipeline
from .schedule import Schedule, signal_and_noise

PredictionType = Literal["epsilon", "v_prediction", "sample"]
KIND, VERSION = "denoiser", 3
UNSAID = {"patch": 1, "clip": (1.0, None), "label": None, "learned_range": False, "autoencoder": None}  # in older files


class Prediction(NamedTuple):
    """The prediction for noisy images.

    Attributes:
        x_0: (B, C, H, W) predicted clean images, clipped; see `Clip`.
        epsilon: (B, C, H, W) predicted noise as the network gave it: where x_0 was clipped, the two no longer
            add up to x_t.
        variance_share: (B, C, H, W) where log Var[x_{t-1} | x_t] lies between log posterior variance, 0, and
            log beta, 1, for networks that have learned it, otherwise None.
    """

    x_0: Tensor
    epsilon: Tensor
    variance_share: Tensor | None = None


class Denoiser(nn.Module):
    """A network and the schedule it was trained on.

    Args:
        network: (x_t (B, C, H, W), t (B,) long) -> (B, C, H, W), as a tensor or as `.sample` of a result. A
            second set of C output channels is a learned variance, see `learned_range`. With patches it sees and gives
            (B, C P^2, H / P, W / P) instead.
        schedule: the full N-step schedule; its index is the network's time.
        prediction_type: what the network predicts, in the words of diffusers: "epsilon",
            "v_prediction" (v = sqrt(alpha_bar) epsilon - sqrt(1 - alpha_bar) x_0) or "sample" (x_0).
        facts: JSON-able notes about the training, kept with the file.
        patch: P; each P x P block of pixels becomes one pixel with C P^2 channels before the network, and is
            laid out again after it (space to depth). The network then works on P^2 times fewer places.
        clip: the range in which x_0 is held.

    Attributes:
        label: the class that a class-conditional network is asked for; None: it is not asked for one.
        learned_range: whether the second set of output channels is used, as `Prediction.variance_share`.
        autoencoder: what turns pictures into the latents that the network works on; None: it works on pixels.

    Raises:
        TiramisuError: an unknown prediction type, a schedule that is already respaced, or patch < 1.
    """

    label: int | None = None
    learned_range: bool = False
    autoencoder: Autoencoder | None

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        prediction_type: PredictionType = "epsilon",
        facts: Mapping[str, Any] | None = None,
        patch: int = 1,
        clip: Clip = Clip(),  # noqa: B008 (a tuple)
    ) -> None:
        super().__init__()
        known_name("prediction_type", prediction_type, get_args(PredictionType))
        instance("network", network, nn.Module)
        instance("schedule", schedule, Schedule)
        if not torch.equal(schedule.timesteps, torch.arange(len(schedule))):
            raise TiramisuError("a denoiser takes the full schedule of its training; respace it for a sampler")
        positive_integer("patch", patch)
        self.network, self.schedule, self.prediction_type = network, schedule, prediction_type
        self.facts, self.patch, self.clip, self.autoencoder = dict(facts or {}), patch, clip, None

    @property
    def limit(self) -> float:
        """Of the numbers in a picture: 1 for pixels; latents have none."""
        return 1.0 if self.autoencoder is None else math.inf

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """(C, H, W) of the pictures it was trained on, where its network states them."""
        config = getattr(self.network, "config", {})
        if (side := config.get("sample_size")) is None:
            return None
        height, width = (side, side) if isinstance(side, int) else side
        if self.autoencoder is None:
            return config["in_channels"] // self.patch**2, height * self.patch, width * self.patch
        factor = self.patch * self.autoencoder.factor
        return self.autoencoder.network.config["in_channels"], height * factor, width * factor

    def forward(self, x_t: Tensor, i: int | Tensor) -> Prediction:
        """Clean image and noise in x_t, differentiable; a clipped pixel of x_0 has gradient zero.

        Args:
            x_t: (B, C, H, W) noisy images.
            i: time in 0 ... N - 1, original index, the same for all images or (B,) long.
        """
        output, share = self._outputs(x_t, i)
        signal, spread = signal_and_noise(self.schedule.alpha_bar, i, x_t)
        match self.prediction_type:
            case "epsilon":
                x_0, epsilon = (x_t - spread * output) / signal, output
            case "v_prediction":
                x_0, epsilon = signal * x_t - spread * output, spread * x_t + signal * output
            case "sample":
                x_0, epsilon = output, (x_t - signal * output) / spread
        return Prediction(self.clip(x_0), epsilon, share)

    def output(self, x_t: Tensor, i: int | Tensor) -> Tensor:
        """The network's own output (B, C, H, W): computed in the dtype of its weights, returned in x_t's.

        Raises:
            ImageError: the images cannot be cut into patches.
        """
        return self._outputs(x_t, i)[0]

    def _outputs(self, x_t: Tensor, i: int | Tensor) -> tuple[Tensor, Tensor | None]:
        """The output, and the share of a learned variance."""
        check_images("x_t", x_t, limit=None)
        self.check_channels(x_t)
        if not isinstance(i, Tensor):
            integer("i", i, 0, len(self.schedule) - 1)
        elif (
            i.dtype != torch.long
            or i.shape not in ((), (len(x_t),))
            or not bool(((i >= 0) & (i < len(self.schedule))).all())
        ):
            raise TiramisuError(
                f"i must be times (B,) long in 0 ... {len(self.schedule) - 1}, not {i.dtype} {tuple(i.shape)}"
            )
        if x_t.shape[-2] % self.patch or x_t.shape[-1] % self.patch:
            raise ImageError(f"images of {x_t.shape[-2]} x {x_t.shape[-1]} pixels do not divide into {self.patch}s")
        t = torch.as_tensor(i, device=x_t.device).expand(len(x_t))
        weight = next(self.network.parameters(), x_t)
        blocks = pixel_unshuffle(x_t.to(weight.dtype), self.patch)  # (B, C P^2, H / P, W / P)
        asked = {} if self.label is None else {"class_labels": torch.full_like(t, self.label)}
        output = self.network(blocks, t, **asked)
        output = output if isinstance(output, Tensor) else output.sample
        halves = [pixel_shuffle(half, self.patch).to(x_t.dtype) for half in output.split(blocks.shape[1], 1)]
        return halves[0], (halves[1] + 1) / 2 if self.learned_range else None

    def check_channels(self, images: Tensor) -> None:
        """Whether images (B, C, H, W) have the channels of the network, where it states them."""
        channels = getattr(getattr(self.network, "config", None), "in_channels", None)
        if channels not in (None, images.shape[1] * self.patch**2):
            found, expected = tuple(images.shape), channels // self.patch**2
            raise ImageError(f"the network takes {expected} channels, the images {found} have others")

    def save(self, path: str | Path, half: bool = False) -> None:
        """Write everything to one safetensors file.

        Args:
            path: the file.
            half: store the network's weights as 16-bit floats, half the size.

        Raises:
            TiramisuError: the network is not one of diffusers, so it cannot be rebuilt from a config.
        """
        tensors = {f"schedule.{key}": value for key, value in vars(self.schedule).items() if value is not None}
        networks = {"network": self.network} | ({"autoencoder": self.autoencoder.network} if self.autoencoder else {})
        for part, network in networks.items():
            for name, tensor in network.state_dict().items():
                tensors[f"{part}.{name}"] = tensor.half() if half and tensor.is_floating_point() else tensor
        metadata: dict[str, Any] = {name: getattr(self, name) for name in ("prediction_type", "facts", *UNSAID)}
        metadata |= {"autoencoder": None} | {part: network_config(network) for part, network in networks.items()}
        save_safetensors(path, tensors, kind=KIND, version=VERSION, metadata=metadata)

    @classmethod
    def load(cls, path: str | Path) -> "Denoiser":
        """Read a file that `save` wrote: float32, on the CPU, in evaluation mode, weights without gradients.

        Raises:
            FileError: the file is missing, truncated, damaged or not a denoiser.
        """
        with loaded(path, kind=KIND, version=VERSION) as (tensors, metadata):
            schedule = Schedule(**_under("schedule.", tensors))
            weights, settings = _under("network.", tensors), metadata["network"]["config"]
            integer("layers_per_block", settings.get("layers_per_block", 1), 1, len(weights))  # each has some
            network = with_weights(lambda: build_network(metadata["network"]), weights)
            said = {**(UNSAID if metadata["version"] < VERSION else {}), **metadata}
            limit, quantile = said["clip"]
            clip = Clip(float(limit), None if quantile is None else number("quantile", quantile, 0, 1))
            denoiser = cls(network, schedule, said["prediction_type"], said["facts"], said["patch"], clip)
            denoiser.label = None if said["label"] is None else integer("label", said["label"])
            instance("learned_range", said["learned_range"], bool)
            denoiser.learned_range = said["learned_range"]
            if coder := said["autoencoder"]:
                weights = _under("autoencoder.", tensors)
                denoiser.autoencoder = Autoencoder(with_weights(lambda: build_network(coder), weights))
            return denoiser.eval()

    @classmethod
    def from_pretrained(
        cls, source: str | Path, revision: str | None = None, *, variant: str | None = None, label: int | None = None
    ) -> "Denoiser":
        """Wrap a diffusers pipeline, or a `UNet2DModel` with its scheduler config, on pixels or in latents.

        Prediction type, clipping, thresholding and learned variance are the model's own. Only safetensors weights are
        read. The schedule is not calibrated: `inpaint` does that where a guide needs it.

        Args:
            source: folder or hub name, with `unet/` and `scheduler/` inside, or with both configs at the top; with
                `vae/` or `vqvae/` the network works in latents.
            revision: commit or tag on the hub.
            variant: of the weights, such as "fp16"; the only one in a folder if None.
            label: the class to draw, of a class-conditional network; the attribute can be changed later.

        Raises:
            FileError: no such model, no safetensors weights, or weights that are missing or left over.
            TiramisuError: a network, scheduler, noise schedule or prediction type that this package does not have, or
                a label that is missing or out of range.
        """
        arguments, attributes = read_pipeline(source, revision, variant, label)
        denoiser = cls(**arguments, facts={"source": str(source), "revision": revision})
        for name, value in attributes.items():
            setattr(denoiser, name, value)
        return denoiser.eval()


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
