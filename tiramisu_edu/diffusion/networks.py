"""Networks of diffusers: imported without the rest of that library, built from a config, read from a folder; one of
them as the autoencoder of a denoiser that works in latents.

Importing one class of diffusers normally brings 2100 modules along: every transformer it has, SciPy, torchvision and
PyTorch's compiler. A UNet needs none of them.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from ..checks import check_images, integer
from ..errors import FileError, ImageError, TiramisuError, known_name

CODERS = ("VQModel", "AutoencoderKL")
NETWORKS = ("UNet2DModel", *CODERS)
ALONE = {"UNet2DModel": "unets.unet_2d", "VQModel": "autoencoders.vq_model"}
"""Those that can be imported alone: class -> its module below diffusers.models."""
WEIGHTS = "diffusion_pytorch_model"
_IMPORTING = RLock()


def network_class(name: str) -> Any:
    """A network class of diffusers.

    Raises:
        TiramisuError: it is none of NETWORKS.
    """
    known_name("network class", name, NETWORKS)
    with _IMPORTING:
        if name in ALONE:
            with contextlib.suppress(ImportError, AttributeError, RuntimeError), _alone():  # of another layout
                return getattr(importlib.import_module(f"diffusers.models.{ALONE[name]}"), name)
        return getattr(importlib.import_module("diffusers"), name)


def network_config(network: nn.Module) -> dict[str, Any]:
    """Class name and constructor arguments of a network that `build_network` can rebuild."""
    name = type(network).__name__
    if name not in NETWORKS:
        raise TiramisuError(f"cannot save a network of class {name}: expected {', '.join(NETWORKS)}")
    settings: Any = network.config
    return {"class": name, "config": {key: value for key, value in settings.items() if not key.startswith("_")}}


def build_network(description: Mapping[str, Any]) -> nn.Module:
    """The inverse of `network_config`, with fresh weights."""
    return network_class(description["class"])(**description["config"])


def read_network(folder: Path, name: str, variant: str | None = None) -> nn.Module:
    """A network with its weights from a folder: float32, in evaluation mode, without gradients.

    Args:
        folder: with config.json and safetensors weights, as `save_pretrained` of diffusers writes them.
        name: its class, one of NETWORKS.
        variant: of the weights, such as "fp16"; the only one there is if None.

    Raises:
        FileError: no weights, or weights that are missing, left over, of other shapes or not finite.
        TiramisuError: more layers than any network has.
    """
    options = {"use_safetensors": True, "low_cpu_mem_usage": False, "output_loading_info": True}
    variant = variant or _only_variant(folder)
    integer("layers_per_block", read_json(folder / "config.json").get("layers_per_block", 1), 1, 100)
    try:
        with torch.inference_mode(False), _quiet():
            network, found = network_class(name).from_pretrained(folder, variant=variant, **options)
    except Exception as error:
        raise FileError(f"cannot read a {name} from {folder}: {first_line(error)}") from error
    if odd := [key for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for key in found[kind]]:
        raise FileError(f"the weights in {folder} are not those of its network: {len(odd)} differ, first {odd[0]}")
    if not all(bool(weight.isfinite().all()) for weight in network.state_dict().values()):
        raise FileError(f"the weights in {folder} are not all finite")
    return network.float().eval().requires_grad_(False)


class Autoencoder(nn.Module):
    """A VQModel or AutoencoderKL of diffusers, with the scale of the latents that a denoiser was trained on.

        z = (encoder(x) - shift) scale,   x = decoder(z / scale + shift)

    The latents of an AutoencoderKL are the modes of its posterior. A VQModel rounds latents to its codes when it
    decodes them, not before.

    Args:
        network: of diffusers.

    Raises:
        TiramisuError: the network scales its latents channel by channel.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network
        config: Any = network.config
        if config.get("latents_mean") is not None or config.get("latents_std") is not None:
            raise TiramisuError("an autoencoder with latents_mean or latents_std is not supported")
        self.factor = 2 ** (len(config["block_out_channels"]) - 1)  # pixels along the side of a latent
        self.scale, self.shift = config.get("scaling_factor") or 1.0, config.get("shift_factor") or 0.0

    def encode(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> latents (B, c, H / f, W / f).

        Raises:
            ImageError: the sides are no multiples of f.
        """
        check_images("images", images)
        if images.shape[-2] % self.factor or images.shape[-1] % self.factor:
            raise ImageError(f"{images.shape[-2]} x {images.shape[-1]} pixels do not divide into {self.factor}s")
        found = self.network.encode(images)
        latents = found.latents if hasattr(found, "latents") else found.latent_dist.mode()
        return (latents - self.shift) * self.scale

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, c, h, w) -> pictures (B, C, f h, f w) in [-1, 1]."""
        return self.network.decode(latents / self.scale + self.shift).sample.clamp(-1, 1)

    def encode_known(self, image: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Latents of a damaged picture, and which of them are known: those whose f x f pixels all are.

        Hidden pixels are encoded with the mean colour of the known ones. The encoder looks at neighbours too, so that
        latents beside the hole are not exactly those of the whole picture.

        Args:
            image: (B, C, H, W).
            known: bool, of a shape that broadcasts to it.

        Returns:
            latents (B, c, h, w), known (B, 1, h, w).

        Raises:
            ImageError: as `encode`, or where no latent of a picture is known.
        """
        known = known.expand(len(image), *known.shape[-3:]).all(1, keepdim=True) if known.ndim > 2 else known
        known = known.expand(len(image), 1, *image.shape[-2:])
        visible = torch.where(known, image, 0.0)
        mean = visible.sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp_min(1)
        latents = self.encode(torch.where(known, image, mean))
        whole = max_pool2d((~known).float(), self.factor) == 0
        if not bool(whole.flatten(1).any(1).all()):
            raise ImageError(f"the mask leaves no block of {self.factor} x {self.factor} pixels known in some picture")
        return latents, whole


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        FileError: it cannot be read, or is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(f"cannot read {path}: {first_line(error)}") from error
    if not isinstance(found, dict):
        raise FileError(f"{path} holds no JSON object")
    return found


def _only_variant(folder: Path) -> str | None:
    """The variant of the weights in a folder, None where the plain ones are there.

    Raises:
        FileError: no safetensors weights, or several variants.
    """
    names = [path.name.removeprefix(WEIGHTS) for path in folder.glob(f"{WEIGHTS}*.safetensors*")]
    variants = sorted({name.split(".")[1].split("-")[0] for name in names} - {"safetensors"})
    if any(name.startswith((".safetensors", "-")) for name in names):
        return None
    if len(variants) != 1:
        several = f"; there are {', '.join(variants)}: choose one by variant=" if variants else ""
        raise FileError(f"{folder} has no weights {WEIGHTS}.safetensors; pickled ones are not read{several}")
    return variants[0]


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Inside, a network of diffusers is imported without its packages' other modules and without torch._dynamo.

    Empty modules stand for the packages, so that their own __init__ does not run; for a missing torch._dynamo diffusers
    has a way of its own. What has been imported before stays as it is, and afterwards the stand-ins are gone: a later
    import finds the real modules.
    """
    stand_ins: dict[str, Any] = {} if "torch._dynamo" in sys.modules else {"torch._dynamo": None}
    sys.modules.update(stand_ins)
    try:
        root = Path(importlib.import_module("diffusers").__path__[0])
        for folder in ("transformers", "unets", "autoencoders"):
            if (name := f"diffusers.models.{folder}") not in sys.modules:
                stand_ins[name] = sys.modules[name] = ModuleType(name)
                stand_ins[name].__path__ = [str(root / "models" / folder)]
        yield
    finally:
        for name in stand_ins:
            sys.modules.pop(name, None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Inside, diffusers gives no advice, such as to install another package."""
    logging = importlib.import_module("diffusers.utils.logging")
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def first_line(error: Exception) -> str:
    """What an error says, in one line; of one of the system's, without the file's name."""
    said = getattr(error, "strerror", None) or str(error)
    return (said.strip().splitlines() or [type(error).__name__])[0].rstrip(":")
