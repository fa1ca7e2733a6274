"""The denoiser: from a noisy image and a time to a clean image and the noise in it.

Networks are trained to predict one of three things, each a mixture of the same two unknowns x_0 and epsilon. `Denoiser`
hides which, so that a sampler reads only `prediction.x_0` and `prediction.epsilon`. Any module
(x, t) -> output will do; the networks of diffusers, on disk or on the hub, are the ones it can save.
"""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from ..checks import check_images, instance, integer, positive_integer
from ..errors import FileError, ImageError, TiramisuError
from ..files import load_safetensors, reading, save_safetensors, with_weights
from .schedule import Schedule, signal_and_noise

PredictionType = Literal["epsilon", "v_prediction", "sample"]
KIND, VERSION = "denoiser", 2


class Prediction(NamedTuple):
    """The prediction for noisy images.

    Attributes:
        x_0: (B, C, H, W) predicted clean images, clipped to [-1, 1].
        epsilon: (B, C, H, W) predicted noise as the network gave it: where x_0 was clipped, the two no longer
            add up to x_t.
    """

    x_0: Tensor
    epsilon: Tensor


class Denoiser(nn.Module):
    """A network and the schedule it was trained on.

    Args:
        network: (x_t (B, C, H, W), t (B,) long) -> (B, C, H, W), as a tensor or as `.sample` of a result. A
            second set of C output channels (a learned variance) is ignored. With patches it sees and gives
            (B, C P^2, H / P, W / P) instead.
        schedule: the full N-step schedule; its index is the network's time.
        prediction_type: what the network predicts, in the words of diffusers: "epsilon",
            "v_prediction" (v = sqrt(alpha_bar) epsilon - sqrt(1 - alpha_bar) x_0) or "sample" (x_0).
        facts: JSON-able notes about the training, kept with the file.
        patch: P; each P x P block of pixels becomes one pixel with C P^2 channels before the network, and is
            laid out again after it (space to depth). The network then works on P^2 times fewer places.

    Raises:
        TiramisuError: an unknown prediction type, a schedule that is already respaced, or patch < 1.
    """

    def __init__(
        self,
        network: nn.Module,
        schedule: Schedule,
        prediction_type: PredictionType = "epsilon",
        facts: Mapping[str, Any] | None = None,
        patch: int = 1,
    ) -> None:
        super().__init__()
        if prediction_type not in get_args(PredictionType):
            expected = ", ".join(get_args(PredictionType))
            raise TiramisuError(f"unknown prediction_type {prediction_type!r}: expected {expected}")
        instance("network", network, nn.Module)
        instance("schedule", schedule, Schedule)
        if not torch.equal(schedule.timesteps, torch.arange(len(schedule))):
            raise TiramisuError("a denoiser takes the full schedule of its training; respace it for a sampler")
        positive_integer("patch", patch)
        self.network, self.schedule, self.prediction_type = network, schedule, prediction_type
        self.facts, self.patch = dict(facts or {}), patch

    def forward(self, x_t: Tensor, i: int | Tensor) -> Prediction:
        """Clean image and noise in x_t, differentiable; a clipped pixel of x_0 has gradient zero.

        Args:
            x_t: (B, C, H, W) noisy images.
            i: time in 0 ... N - 1, original index, the same for all images or (B,) long.
        """
        output = self.output(x_t, i)
        signal, spread = signal_and_noise(self.schedule.alpha_bar, i, x_t)
        match self.prediction_type:
            case "epsilon":
                x_0, epsilon = (x_t - spread * output) / signal, output
            case "v_prediction":
                x_0, epsilon = signal * x_t - spread * output, spread * x_t + signal * output
            case "sample":
                x_0, epsilon = output, (x_t - signal * output) / spread
        return Prediction(x_0.clamp(-1, 1), epsilon)

    def output(self, x_t: Tensor, i: int | Tensor) -> Tensor:
        """The network's own output (B, C, H, W): computed in the dtype of its weights, returned in x_t's.

        Raises:
            ImageError: the images cannot be cut into patches.
        """
        check_images("x_t", x_t, finite=False)
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
        output = self.network(blocks, t)
        output = output if isinstance(output, Tensor) else output.sample
        return pixel_shuffle(output[:, : blocks.shape[1]], self.patch).to(x_t.dtype)

    def check_channels(self, images: Tensor) -> None:
        """Whether images (B, C, H, W) have the channels of the network, where it states them."""
        channels = getattr(getattr(self.network, "config", None), "in_channels", None)
        if channels not in (None, images.shape[1] * self.patch**2):
            found, expected = tuple(images.shape), channels // self.patch**2
            raise ImageError(f"the network takes {expected} channels, the images {found} have others")

    def target(self, x_0: Tensor, noise: Tensor, i: int | Tensor) -> Tensor:
        """What a perfect network outputs for x_t = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) noise, (B, C, H, W)."""
        signal, spread = signal_and_noise(self.schedule.alpha_bar, i, x_0)
        match self.prediction_type:
            case "epsilon":
                return noise
            case "v_prediction":
                return signal * noise - spread * x_0
            case _:
                return x_0

    def save(self, path: str | Path, half: bool = False) -> None:
        """Write everything to one safetensors file.

        Args:
            path: the file.
            half: store the network's weights as 16-bit floats, half the size.

        Raises:
            TiramisuError: the network is not a diffusers `UNet2DModel`, so it cannot be rebuilt from a config.
        """
        tensors = {f"schedule.{key}": value for key, value in _schedule_tensors(self.schedule).items()}
        for name, tensor in self.network.state_dict().items():
            tensors[f"network.{name}"] = tensor.half() if half and tensor.is_floating_point() else tensor
        metadata = {
            "network": network_config(self.network),
            "prediction_type": self.prediction_type,
            "facts": self.facts,
            "patch": self.patch,
        }
        save_safetensors(path, tensors, kind=KIND, version=VERSION, metadata=metadata)

    @classmethod
    def load(cls, path: str | Path) -> "Denoiser":
        """Read a file that `save` wrote: float32, on the CPU, in evaluation mode, weights without gradients.

        Raises:
            FileError: the file is missing, truncated, damaged or not a denoiser.
        """
        tensors, metadata = load_safetensors(path, kind=KIND, version=VERSION)
        with reading(path):
            schedule = Schedule(**_under("schedule.", tensors))
            weights, settings = _under("network.", tensors), metadata["network"]["config"]
            integer("layers_per_block", settings.get("layers_per_block", 1), 1, len(weights))  # each has some
            network = with_weights(lambda: build_network(metadata["network"]), weights)
            patch = metadata.get("patch", 1)  # files of version 1 know of none
            return cls(network, schedule, metadata["prediction_type"], metadata["facts"], patch).eval()

    @classmethod
    def from_pretrained(cls, source: str | Path, revision: str | None = None) -> "Denoiser":
        """Wrap an unconditional diffusers model: a pipeline, or a `UNet2DModel` with its scheduler config.

        Only safetensors weights are read. The schedule is not calibrated: `calibrate_residual_variance` does
        that.

        Args:
            source: folder or hub name, with `unet/` and `scheduler/` inside, or with both configs at the top.
            revision: commit or tag on the hub.

        Raises:
            FileError: no such model, no safetensors weights, or weights that are missing or left over.
            TiramisuError: a model of latents, of classes or of other than 1 or 3 channels; a scheduler, noise schedule,
                clipping or prediction type that this package does not have.
        """
        from diffusers import DDPMScheduler, DiffusionPipeline, UNet2DModel

        options: dict[str, Any] = {"revision": revision}
        try:
            with contextlib.suppress(OSError):  # a network alone has no list of parts
                _check_parts(source, DiffusionPipeline.load_config(source, **options))
            unet, scheduler = _subfolders(source, options)
            _check_network(source, UNet2DModel.load_config(source, subfolder=unet, **options))
            config = DDPMScheduler.load_config(source, subfolder=scheduler, **options)
            options |= {"use_safetensors": True, "low_cpu_mem_usage": False, "output_loading_info": True}
            with torch.inference_mode(False):
                network, found = UNet2DModel.from_pretrained(source, subfolder=unet, **options)
            _check_scheduler(source, config)
            schedule = Schedule.from_diffusers(config)
        except TiramisuError:
            raise
        except Exception as error:
            raise FileError(f"cannot read a UNet2DModel and its scheduler from {source}: {error}") from error
        if odd := [name for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for name in found[kind]]:
            raise FileError(f"the weights in {source} are not those of its network: {len(odd)} differ, first {odd[0]}")
        if not all(bool(weight.isfinite().all()) for weight in network.state_dict().values()):
            raise FileError(f"the weights in {source} are not all finite")
        predicts: Any = config.get("prediction_type", "epsilon") if config.get("predict_epsilon", True) else "sample"
        facts = {"source": str(source), "revision": revision}
        return cls(network, schedule, predicts, facts).eval().requires_grad_(False)


def network_config(network: nn.Module) -> dict[str, Any]:
    """Class name and constructor arguments of a network that `build_network` can rebuild."""
    name = type(network).__name__
    if name not in NETWORKS:
        raise TiramisuError(f"cannot save a network of class {name}: expected {', '.join(NETWORKS)}")
    settings: Any = network.config
    config = {key: value for key, value in settings.items() if not key.startswith("_")}
    return {"class": name, "config": config}


def build_network(description: Mapping[str, Any]) -> nn.Module:
    """The inverse of `network_config`, with fresh weights."""
    name = description["class"]
    if name not in NETWORKS:
        raise TiramisuError(f"unknown network class {name!r}: expected {', '.join(NETWORKS)}")
    import diffusers

    return getattr(diffusers, name)(**description["config"])


NETWORKS = ("UNet2DModel",)
SCHEDULERS = tuple(
    f"{name}Scheduler"
    for name in (
        *("DDPM", "DDIM", "PNDM", "LMSDiscrete", "EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete"),
        *("DPMSolverMultistep", "DPMSolverSinglestep", "DEISMultistep", "UniPCMultistep"),
    )
)  # of networks that read a whole time 0 ... N - 1 and x_t as the forward process leaves it


def _subfolders(source: str | Path, options: Mapping[str, Any]) -> tuple[str, str]:
    """Where the network and the scheduler lie: in folders of their own, or (older files) both at the top."""
    from diffusers import UNet2DModel

    try:
        UNet2DModel.load_config(source, subfolder="unet", **options)
    except OSError:
        return "", ""
    return "unet", "scheduler"


def _check_parts(source: str | Path, parts: Mapping[str, Any]) -> None:
    """Whether a pipeline works on pixels, from its list of parts."""
    if strange := [name for name in parts if not name.startswith("_") and name not in ("unet", "scheduler")]:
        raise TiramisuError(
            f"{source} is a {parts.get('_class_name')} with {', '.join(strange)}: only pipelines of a unet and a "
            "scheduler work on pixels without a condition"
        )


def _check_network(source: str | Path, config: Mapping[str, Any]) -> None:
    if (name := config.get("_class_name", "UNet2DModel")) not in NETWORKS:
        raise TiramisuError(f"{source} holds a {name}, expected {', '.join(NETWORKS)}")
    if (channels := config.get("in_channels", 3)) not in (1, 3):
        raise TiramisuError(f"the network in {source} takes {channels} channels; pixels have 1 or 3")
    if config.get("num_class_embeds") is not None or config.get("class_embed_type") is not None:
        raise TiramisuError(f"the network in {source} asks for a class, which this package does not give")


def _check_scheduler(source: str | Path, config: Mapping[str, Any]) -> None:
    """Whether the scheduler's words mean what `Denoiser` does: x_0 is clipped to [-1, 1], at whole times."""
    if (name := config.get("_class_name", "DDPMScheduler")) not in SCHEDULERS:
        raise TiramisuError(f"{source} has a {name}, expected one of {', '.join(SCHEDULERS)}")
    for key, value in {"clip_sample": True, "clip_sample_range": 1.0, "thresholding": False}.items():
        if config.get(key, value) != value:
            raise TiramisuError(
                f"the scheduler in {source} has {key}={config[key]}, and this package clips x_0 to [-1, 1]: "
                f"where the pictures lie in [-1, 1], set {key} to {json.dumps(value)} in its config"
            )


def _schedule_tensors(schedule: Schedule) -> dict[str, Tensor]:
    tensors = {"alpha_bar": schedule.alpha_bar, "timesteps": schedule.timesteps}
    if schedule.residual_variance is not None:
        tensors["residual_variance"] = schedule.residual_variance
    return tensors


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
