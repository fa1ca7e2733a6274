"""`TiramisuInpaintPipeline`: the package in the manner of a diffusers pipeline, for pictures of any size."""

from __future__ import annotations

import importlib
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
from .errors import ImageError, TiramisuError, known_name
from .files import reading, write_text
from .inpainting import inpaint
from .photo import complete_photo
from .steering.beyond.difference import WeightTable
from .steering.evidence import PixelCodebook
from .tokenizer import Tokenizer
from .world import READERS, TABLES, PartsWorld, World, parts_of

INDEX = "model_index.json"
TUNED = ("sampler_options", "guide_options")
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
        with reading(folder / INDEX):
            read = {name: READERS[name](folder / f"{name}.safetensors") for name in index["parts"]}
            if index["levels"] is not None:
                read["codebook"] = PixelCodebook(torch.tensor(index["levels"]))
            tables = {of: WeightTable.load(folder / TABLES[of]) for of in index.get("weights", ())}
            tuned = {"weights": tables.get} | {name: index[name] for name in TUNED}
        return cls(**{**read, **parts}) if parts else cls(PartsWorld(tuned=tuned, **read))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write every part and fitted weight to a folder, as safetensors files, with a JSON index of tuned options.

        Raises:
            TiramisuError: the network is not one of diffusers, or a part has no file.
        """
        folder, parts = Path(folder), {name: part for name in READERS if (part := self._part(name)) is not None}
        codebook = parts.get("codebook")
        levels = parts.pop("codebook").levels.tolist() if isinstance(codebook, PixelCodebook) else None
        for name, part in parts.items():
            if not hasattr(part, "save"):
                raise TiramisuError(f"the {name} cannot be saved: a {type(part).__name__} has no file")
            if isinstance(part, Tokenizer):
                part.save(folder / f"{name}.safetensors", part.facts, half=False)
            else:
                part.save(folder / f"{name}.safetensors", **part.facts if isinstance(part, Circuit) else {})
        tables = {of: table for of in TABLES if (table := self.world.weights(of)) is not None}
        for of, table in tables.items():
            table.save(folder / TABLES[of])
        index: dict[str, Any] = {"_class_name": type(self).__name__, "parts": sorted(parts), "levels": levels}
        index |= {"weights": sorted(tables)} | {name: dict(getattr(self.world, name)) for name in TUNED}
        write_text(folder / INDEX, json.dumps(index, indent=1))

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
        known_name("output_type", output_type, ("pil", "np", "pt"))
        options |= {"sampler": sampler, "guide": guidance, "num_inference_steps": num_inference_steps}
        noise = generators_of(generator, len(image) if isinstance(image, Tensor) else 1)
        run: Any = partial(inpaint, self.world, generator=noise, **options)

        def complete(picture: Tensor, known: Tensor) -> Tensor:
            return run(picture.to(self.world.device), known.to(self.world.device)).images.cpu()

        if isinstance(image, Tensor):
            instance("mask_image", mask_image, Tensor)
            hidden = mask_image.expand(len(image), 1, *image.shape[-2:]) >= 0.5  # type: ignore[union-attr]
            found = (complete(image * 2 - 1, ~hidden) + 1) / 2
            return PipelineOutput(_processor().postprocess(torch.where(hidden, found.to(image), image), output_type))
        images = [image] if isinstance(image, Image.Image) else list(image)
        masks = [mask_image] if isinstance(mask_image, Image.Image) else list(mask_image)
        done = [self._completed(*pair, complete) for pair in zip(images, masks, strict=True)]
        return PipelineOutput(done if output_type == "pil" else _processor().postprocess(_stacked(done), output_type))

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
        pixels, hidden = np.array(picture), np.array(mask.convert("L")) >= 128
        colours = pixels[..., None] if pixels.ndim == 2 else pixels[..., :3]
        colours[:] = complete_photo(colours, hidden, shape[1:], shape[0], complete)
        return Image.fromarray(pixels)


def _stacked(pictures: list[Image.Image]) -> Tensor:
    """(B, C, H, W) in [0, 1]."""
    if len({(picture.size, picture.mode) for picture in pictures}) > 1:
        raise ImageError("pictures of several sizes or modes make no array: choose output_type='pil'")
    return _processor().numpy_to_pt(_processor().pil_to_numpy(pictures))


def _processor() -> Any:
    """What turns pictures into arrays and tensors, all in [0, 1], and back, in diffusers."""
    return importlib.import_module("diffusers.image_processor").VaeImageProcessor(do_normalize=False)
