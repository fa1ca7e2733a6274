"""Every file that a world is made of, and the recipe that makes it: what `tiramisu-edu train` goes through."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ...checkpoint import Checkpoint
from ...errors import FileError, TiramisuError, unknown_name
from ...names import FOLDER
from ..common import check_place
from ..datafiles import data_root, write_checksums
from ..memory import reserve
from ..worlds import clothes, digits
from ..worlds.drawing import UNITS
from ..worlds.folder import FolderWorld
from ..worlds.scenes import SCENES
from .code_circuit import code_memory, train_code_circuit
from .denoiser import denoiser_memory, scaled, train_digits_denoiser, train_scene_denoiser
from .judge import train_clothes_judge, train_digits_judge, train_scene_judge
from .patch_circuit import PatchSettings, patch_memory, train_independent_circuit, train_patch_circuit
from .pixel_circuit import train_digits_circuit
from .request import Options
from .tokenizer import TokenizerSettings, tokenizer_memory, train_scene_tokenizer
from .training import Source

Maker = Callable[[Path], object]


TOGETHER = {"codebook": ("circuit",), "codes": ("codes_hclt", "codes_quad_tree")}  # part -> what is made for it


def make(request: Options) -> None:
    """Make one part or all, each from its checkpoint where it was stopped, and renew the checksums.

    Raises:
        TiramisuError: for an unknown world, a part or scale that the world does not have, or too little memory.
    """
    folder, makers = plan(request)
    check_place(folder, "folder")
    asked = list(makers) if request.part == "all" else TOGETHER.get(request.part, (request.part,))
    names = [name for name in asked if name in makers]
    if not names:
        raise unknown_name(f"part of {request.world}", request.part, [*makers, "all"])
    for name in names:
        start = time.perf_counter()
        path = folder / f"{name}.safetensors"
        print(f"{name}: {path}", flush=True)
        makers[name](path)
        Checkpoint(checkpoint_of(path), {}).remove()
        print(f"{name}: done in {time.perf_counter() - start:.1f} s", flush=True)
        if request.out is None and not request.world.startswith(FOLDER):
            write_checksums()  # after each part: the next one reads the files made before it


def plan(request: Options) -> tuple[Path, dict[str, Maker]]:
    """The folder to write to, and part -> what writes its file, in the order in which all are made."""
    if request.world.startswith(FOLDER):
        if request.out is not None:
            raise TiramisuError("--out is for the worlds that ship; say --models for the models of a folder")
        world = FolderWorld(request.world, size=request.size, models=request.models)
        world.models.mkdir(parents=True, exist_ok=True)
        print(f"{world.pictures.folder}: {world.pictures}", flush=True)
        source = Sized(world.pictures, world.pictures.size, len(world.pictures.files["train"]))
        return world.models, _of_pictures(source, request) | _of_codes(source, request)
    if request.size is not None or request.models is not None:
        raise TiramisuError(f"--size and --models are for folders, such as {FOLDER}PATH; {request.world} has its own")
    if request.source is not None and request.world != "clothes":
        raise TiramisuError(f"--source is for clothes; {request.world} has its own pictures")
    kinds = {"digits": _of_digits, "clothes": _of_clothes} | dict.fromkeys(SCENES, _of_scene)
    if request.world not in kinds:
        raise unknown_name("world", request.world, [*kinds, f"{FOLDER}PATH"])
    makers = kinds[request.world](request)
    return (request.out or data_root()) / request.world, makers


def checkpoint_of(path: Path) -> Path:
    """Where an unfinished run keeps its state, beside the file it will write."""
    return path.with_name(f".{path.stem}.checkpoint")


def _of_digits(request: Options) -> dict[str, Maker]:
    if request.scale != "laptop":
        raise TiramisuError(f"digits come in one scale, laptop; there is no {request.scale}")
    recipes: dict[str, Callable[..., object]] = {
        "circuit": train_digits_circuit,
        "denoiser": train_digits_denoiser,
        "judge": train_digits_judge,
    }

    def maker(recipe: Callable[..., object]) -> Maker:
        return lambda path: recipe(path, seed=request.seed, checkpoint=checkpoint_of(path))

    return {"images": digits.build_images} | {part: maker(recipe) for part, recipe in recipes.items()}


def _of_clothes(request: Options) -> dict[str, Maker]:
    """Of clothes: all pictures of the folder `source`, or those that ship."""
    pictures, toy = clothes.Clothes(request.source), request.scale == "toy"

    def images(path: Path) -> None:
        clothes.build_images(path, request.source or clothes.DEBIAN)

    def judge(path: Path) -> None:
        sizes: dict[str, Any] = {"epochs": 1} if toy else {}
        train_clothes_judge(pictures, path, request.seed, checkpoint=checkpoint_of(path), **sizes)

    source = Sized(pictures, clothes.SIZE)
    found = _of_pictures(source, request) | _of_codes(source, request)
    return {"images": images, "judge": judge} | {part: found[part] for part in CLOTHES}


CLOTHES_STEPS = 3_000  # of the denoiser
CLOTHES = ("circuit", "circuit_independent", "tokenizer", "codes_hclt", "denoiser")


def _of_scene(request: Options) -> dict[str, Maker]:
    """Of a procedural world. Files made earlier lie in the same folder.

    Only the denoisers grow beyond the scale laptop: the other parts have two sizes, toy and what ships.
    """
    scene, seed, toy = SCENES[request.world], request.seed, request.scale == "toy"

    def judge(path: Path) -> None:
        sizes: dict[str, Any] = {"num_images": 256, "epochs": 1, "num_test": 64} if toy else {}
        train_scene_judge(scene, path, seed, checkpoint=checkpoint_of(path), **sizes)

    source = Sized(scene, UNITS)
    pictures = _of_pictures(source, request)
    denoisers = {part: pictures.pop(part) for part in ("denoiser", "denoiser_weak")}
    return {"judge": judge, **pictures, **_of_codes(source, request), **denoisers}


class Sized(NamedTuple):
    """Where pictures come from, their side in pixels, and how many there are to train on."""

    pictures: Source
    size: int
    most: int = 2**30


def _of_codes(source: Sized, request: Options) -> dict[str, Maker]:
    """A tokenizer, and the circuits over its codes."""
    toy = request.scale == "toy"
    shared: dict[str, Any] = {"seed": request.seed, "device": request.device}
    count = request.images or (256 if toy else 16_384)
    settings = TokenizerSettings(**({"num_codes": 16, "width": 16, "steps": 20, "unquantised_steps": 5} if toy else {}))
    settings = _changed(settings, steps=request.steps, minutes=request.minutes)
    settings = replace(settings, unquantised_steps=min(settings.unquantised_steps, settings.steps // 4))
    latents = request.num_latents or (4 if toy else 32)

    def tokenizer(path: Path) -> None:
        reserve("tokenizer", tokenizer_memory(settings, source.size), request.device)
        kept: dict[str, Any] = {"num_images": count, "checkpoint": checkpoint_of(path)}
        train_scene_tokenizer(source.pictures, path, settings=settings, **(shared | kept))

    def codes(path: Path) -> None:
        needed = code_memory(settings.num_codes, latents, min(count, source.most), source.size)
        reserve(path.stem, needed, request.device)
        inputs = _made(path, "tokenizer", request), path.stem.removeprefix("codes_")
        sizes: dict[str, Any] = {"num_images": count, "num_latents": latents, "epochs": 1 if toy else 12}
        train_code_circuit(source.pictures, path, *inputs, checkpoint=checkpoint_of(path), **(shared | sizes))

    return {"tokenizer": tokenizer, "codes_hclt": codes, "codes_quad_tree": codes}


def _of_pictures(source: Sized, request: Options) -> dict[str, Maker]:
    """Of any world of pictures in patches; the circuit's maker writes the codebook too."""
    toy = {"images": 256, "num_codes": 8, "num_latents": 4, "rounds": 1, "epochs": 1}
    pictures, is_clothes = source.pictures, source.pictures.name == "clothes"
    leaves = {"rank": 4, "whole": 256} if is_clothes else {}
    settings = PatchSettings(**leaves, **(toy if request.scale == "toy" else {}))
    changes = {name: getattr(request, name) for name in ("images", "num_latents", "patch", "minutes")}
    settings = _changed(settings, **changes)
    shared: dict[str, Any] = {"seed": request.seed, "device": request.device}

    def circuit(path: Path) -> None:
        reserve("circuit", patch_memory(settings, source.most, source.size), request.device)
        files, kept = (path, _beside(path, "codebook")), checkpoint_of(path)
        train_patch_circuit(pictures, *files, settings=settings, checkpoint=kept, **shared)

    def circuit_independent(path: Path) -> None:
        reserve("independent circuit", patch_memory(replace(settings, num_latents=1), 1, source.size), request.device)
        files, kept = (path, _made(path, "codebook", request)), checkpoint_of(path)
        train_independent_circuit(pictures, *files, num_images=settings.images, checkpoint=kept, **shared)

    def denoiser(path: Path) -> None:
        sizes: dict[str, Any] = {"minutes": request.minutes, "num_images": request.images}
        sizes["steps"] = request.steps or (CLOTHES_STEPS if is_clothes and request.scale == "laptop" else None)
        reserve("denoiser", denoiser_memory(scaled(request.scale, **sizes), source.size), request.device)
        kept = checkpoint_of(path)
        kind: dict[str, Any] = {"weak": path.stem == "denoiser_weak", "scale": request.scale} | shared | sizes
        train_scene_denoiser(pictures.name, pictures.images, path, checkpoint=kept, **kind)

    circuits: dict[str, Maker] = {"circuit": circuit, "circuit_independent": circuit_independent}
    return circuits | {"denoiser": denoiser, "denoiser_weak": denoiser}


def _changed(settings: Any, **changes: Any) -> Any:
    """Settings with those changes that are not None."""
    return replace(settings, **{name: value for name, value in changes.items() if value is not None})


def _beside(path: Path, part: str) -> Path:
    """The file of another part of the same world."""
    return path.with_name(f"{part}.safetensors")


def _made(path: Path, part: str, request: Options) -> Path:
    """The file of another part of the same world, which was made before."""
    if not (found := _beside(path, part)).is_file():
        options = [f"--{name} {value}" for name in ("size", "models", "out") if (value := getattr(request, name))]
        command = " ".join(["tiramisu-edu train", shlex.quote(request.world), *options, "--part", part])
        raise FileError(f"{found} is not made yet; make it with: {command}")
    return found
