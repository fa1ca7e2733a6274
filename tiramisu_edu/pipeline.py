"""`TiramisuInpaintPipeline`: the package in the manner of a diffusers pipeline, for pictures of any size."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .checks import instance
from .circuits.circuit import Circuit
from .diffusion.denoiser import Denoiser
from .diffusion.networks import read_json
from .diffusion.noise import Generators, generators_of
from .diffusion.step import Step
from .diffusion.walk import Sampler
from .errors import ImageError, TiramisuError
from .files import atomic_path
from .inpainting import inpaint
from .photo import Photo, complete_photo
from .steering.codebooks import load_codebook
from .steering.evidence import PixelCodebook
from .tokenizer import Tokenizer
from .world import World, parts_of

INDEX = "model_index.json"
READERS: dict[str, Callable[[Path], Any]] = {
    "denoiser": Denoiser.load,
    "circuit": Circuit.load,
    "codebook": load_codebook,
    "tokenizer": Tokenizer.load,
    "code_circuit": Circuit.load,
}
"""Part -> what reads its file, PART.safetensors."""
Pictures = Image.Image | Sequence[Image.Image]


class PipelineOutput(NamedTuple):
    """What a call of the pipeline returns.

    Attributes:
        images: a list of Pillow images, an array (B, H, W, C) or a tensor (B, C, H, W), both in [0, 1].
    """

    images: Any


class TiramisuInpaintPipeline:
    """Inpainting with a diffusion model that a circuit steers.

        pipe = TiramisuInpaintPipeline.from_pretrained("google/ddpm-celebahq-256", circuit=circuit, codebook=codebook)
        pipe(image=photo, mask_image=mask, guidance="mixture", generator=0).images[0]

    Args:
        world: from `load`; None where all models are given.
        parts: denoiser, circuit, codebook, tokenizer, code_circuit, pictures: see `PartsWorld`.
    """

    def __init__(self, world: World | None = None, **parts: Any) -> None:
        self.world = parts_of(world, parts)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        variant: str | None = None,
        label: int | None = None,
        **parts: Any,
    ) -> TiramisuInpaintPipeline:
        """A pipeline that `save_pretrained` wrote; or the denoiser of a diffusers model, with parts of your own.

        Args:
            source: a folder or, for diffusers models, a hub name.
            revision, variant, label: as in `Denoiser.from_pretrained`.
            parts: as in the constructor; they take the place of those in the folder.

        Raises:
            FileError, TiramisuError: as `Denoiser.from_pretrained`, or a file that is damaged.
        """
        folder = Path(source)
        index = read_json(folder / INDEX) if (folder / INDEX).is_file() else {}
        if index.get("_class_name") != cls.__name__:
            denoiser = Denoiser.from_pretrained(source, revision, variant=variant, label=label)
            return cls(**{"denoiser": denoiser, **parts})
        read = {name: READERS[name](folder / f"{name}.safetensors") for name in READERS if name in index["parts"]}
        if index["levels"] is not None:
            read["codebook"] = PixelCodebook(torch.tensor(index["levels"]))
        pipeline = cls(**{**read, **parts})
        if not parts:
            pipeline.world.__dict__ |= {name: index[name] for name in ("sampler_options", "guide_options")}
        return pipeline

    def save_pretrained(self, folder: str | Path) -> None:
        """Write every part of the pipeline to a folder, as safetensors files and a JSON index.

        Raises:
            TiramisuError: the network is not one of diffusers.
        """
        parts = {name: part for name in READERS if (part := self._part(name)) is not None}
        codebook = parts.get("codebook")
        levels = codebook.levels.tolist() if isinstance(codebook, PixelCodebook) else None
        if levels is not None:
            del parts["codebook"]
        for name, part in parts.items():
            path = Path(folder) / f"{name}.safetensors"
            if isinstance(part, Tokenizer):
                part.save(path, part.facts, half=False)
            elif hasattr(part, "save"):
                part.save(path, **part.facts if isinstance(part, Circuit) else {})
            else:
                raise TiramisuError(f"the {name} cannot be saved: a {type(part).__name__} has no file")
        index: dict[str, Any] = {"_class_name": type(self).__name__, "parts": sorted(parts), "levels": levels}
        index |= {name: dict(getattr(self.world, name)) for name in ("sampler_options", "guide_options")}
        with atomic_path(Path(folder) / INDEX) as unfinished:
            unfinished.write_text(json.dumps(index, indent=1), encoding="utf-8")

    def to(self, device: str | torch.device) -> TiramisuInpaintPipeline:
        """The pipeline with its models on a device."""
        return type(self)(self.world.to(device))

    def __call__(
        self,
        image: Pictures | Tensor,
        mask_image: Pictures | Tensor,
        *,
        num_inference_steps: int = 25,
        guidance: str | Callable[[Step], Tensor] | None = "mixture",
        sampler: str | Sampler = "copaint",
        generator: Generators | int | None = None,
        output_type: Literal["pil", "np", "pt"] = "pil",
        **options: Any,
    ) -> PipelineOutput:
        """Fill in the white part of the mask. CoPaint with the mixture is the paper's Tiramisu.

        Args:
            image: a Pillow image or a list of them, of any size: where it is not the model's, the part around each
                hole is (see `photo`). Or a tensor (B, C, H, W) in [0, 1] of the model's size.
            mask_image: of the same kind and size, (B, 1, H, W) for tensors; from one half on a pixel is filled in.
            num_inference_steps, sampler, generator: as in `inpaint`.
            guidance: its `guide`.
            output_type: "pil", "np" or "pt".
            options: guided_fraction and eta, as in `inpaint`.

        Returns: pixels outside the mask exactly as given.
        Raises:
            ImageError: images and masks that do not fit each other or the model.
            TiramisuError: as `inpaint`.
        """
        if output_type not in ("pil", "np", "pt"):
            raise TiramisuError(f"unknown output_type {output_type!r}: choose pil, np or pt")
        options |= {"sampler": sampler, "guide": guidance, "num_inference_steps": num_inference_steps}
        noise = generators_of(generator, len(image) if isinstance(image, Tensor) else 1)
        run: Any = partial(inpaint, self.world, generator=noise, **options)

        def complete(picture: Tensor, known: Tensor) -> Tensor:
            return run(picture.to(self.world.device), known.to(self.world.device)).images.cpu()

        if isinstance(image, Tensor):
            instance("mask_image", mask_image, Tensor)
            hidden = mask_image.expand(len(image), 1, *image.shape[-2:]) >= 0.5  # type: ignore[union-attr]
            found = (complete(image * 2 - 1, ~hidden) + 1) / 2
            return PipelineOutput(_converted(torch.where(hidden, found.to(image), image), output_type))
        images = [image] if isinstance(image, Image.Image) else list(image)
        masks = [mask_image] if isinstance(mask_image, Image.Image) else list(mask_image)
        done = [self._completed(*pair, complete) for pair in zip(images, masks, strict=True)]
        return PipelineOutput(done if output_type == "pil" else _converted(_stacked(done), output_type))

    def _part(self, name: str) -> Any:
        """A part of the world, None where it has none."""
        if name == "code_circuit":
            return next(iter(self.world.code_circuits.values()), None)
        has = name in self.world.parts or (name == "codebook" and "circuit" in self.world.parts)
        return getattr(self.world, name) if has else None

    def _completed(self, image: Image.Image, mask: Image.Image, complete: Any) -> Image.Image:
        if mask.size != image.size:
            raise ImageError(f"the mask is {mask.size} (width, height), its image {image.size}")
        shape = self.world.denoiser.shape
        if shape is None:
            raise TiramisuError("the denoiser's network does not state the size of its pictures: give tensors of it")
        picture = image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB")
        photo = Photo(np.array(picture), 1, {})
        hidden = np.array(mask.convert("L")) >= 128
        return Image.fromarray(complete_photo(photo, hidden, shape[1:], shape[0], complete).stored)


def _stacked(pictures: list[Image.Image]) -> Tensor:
    """(B, C, H, W) in [0, 1]."""
    if len({(picture.size, picture.mode) for picture in pictures}) > 1:
        raise ImageError("pictures of several sizes or modes make no array: choose output_type='pil'")
    array = np.stack([np.array(picture) for picture in pictures])
    levels = torch.from_numpy(array[..., None] if array.ndim == 3 else array)
    return levels.permute(0, 3, 1, 2).float() / 255


def _converted(images: Tensor, output_type: str) -> Any:
    """Images (B, C, H, W) in [0, 1] as asked for."""
    if output_type == "pt":
        return images
    array = images.permute(0, 2, 3, 1).float().cpu().numpy()
    if output_type == "np":
        return array
    levels = (array * 255).round().astype(np.uint8)
    return [Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture) for picture in levels]
