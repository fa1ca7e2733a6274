"""Every file that a world is made of, and the recipe that makes it: what `tiramisu-edu train` goes through."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ...checkpoint import Checkpoint
from ...datafiles import data_root, write_checksums
from ...errors import TiramisuError, unknown_name
from ...names import FOLDER
from ..common import check_place
from ..worlds import clothes, digits
from ..worlds.folder import FolderWorld
from ..worlds.scenes import SCENES
from .code_circuit import train_code_circuit
from .denoiser import train_digits_denoiser, train_scene_denoiser
from .judge import train_clothes_judge, train_digits_judge, train_scene_judge
from .patch_circuit import PatchSettings, train_independent_circuit, train_patch_circuit
from .pixel_circuit import train_digits_circuit
from .tokenizer import TokenizerSettings, train_scene_tokenizer
from .training import Images, Pictures

Maker = Callable[[Path], object]


class Request(NamedTuple):
    """What is to be made: see the options of `tiramisu-edu train`."""

    world: str
    scale: str = "laptop"
    seed: int = 0
    device: str = "cpu"
    size: int | None = None
    out: Path | None = None
    source: Path | None = None


def make(request: Request, part: str = "all") -> None:
    """Make one part or all, each from its checkpoint where it was stopped, and renew the checksums.

    Raises:
        TiramisuError: for an unknown world, or a part or scale that the world does not have.
    """
    folder, makers = plan(request)
    check_place(folder, "folder")
    if part != "all" and part not in makers:
        raise unknown_name(f"part of {request.world}", part, [*makers, "all"])
    for name in makers if part == "all" else [part]:
        start = time.perf_counter()
        path = folder / f"{name}.safetensors"
        print(f"{name}: {path}", flush=True)
        makers[name](path)
        Checkpoint(checkpoint_of(path), {}).remove()
        print(f"{name}: done in {time.perf_counter() - start:.1f} s", flush=True)
        if request.out is None and not request.world.startswith(FOLDER):
            write_checksums()  # after each part: the next one reads the files made before it


def plan(request: Request) -> tuple[Path, dict[str, Maker]]:
    """The folder to write to, and part -> what writes its file, in the order in which all are made."""
    if request.world.startswith(FOLDER):
        world = FolderWorld(request.world, size=request.size, models=request.out)
        return world.models, _of_pictures(world.name, world.images, request)
    if request.size is not None:
        raise TiramisuError(f"--size is for folders, such as {FOLDER}PATH; {request.world} has its own")
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


def _of_digits(request: Request) -> dict[str, Maker]:
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


def _of_clothes(request: Request) -> dict[str, Maker]:
    """Of clothes: all pictures of the folder `source`, or those that ship."""
    pictures, toy = clothes.Clothes(request.source), request.scale == "toy"

    def images(path: Path) -> None:
        clothes.build_images(path, request.source or clothes.DEBIAN)

    def judge(path: Path) -> None:
        sizes: dict[str, Any] = {"epochs": 1} if toy else {}
        train_clothes_judge(pictures, path, request.seed, checkpoint=checkpoint_of(path), **sizes)

    found = _of_pictures(pictures.name, pictures.images, request) | _of_codes(pictures, request)
    return {"images": images, "judge": judge} | {part: found[part] for part in CLOTHES}


CLOTHES_STEPS = 3_000  # of the denoiser
CLOTHES = ("circuit", "circuit_independent", "tokenizer", "codes_hclt", "denoiser")


def _of_scene(request: Request) -> dict[str, Maker]:
    """Of a procedural world. Files made earlier lie in the same folder.

    Only the denoisers grow beyond the scale laptop: the other parts have two sizes, toy and what ships.
    """
    scene, seed, toy = SCENES[request.world], request.seed, request.scale == "toy"

    def judge(path: Path) -> None:
        sizes: dict[str, Any] = {"num_images": 256, "epochs": 1, "num_test": 64} if toy else {}
        train_scene_judge(scene, path, seed, checkpoint=checkpoint_of(path), **sizes)

    pictures = _of_pictures(scene.name, scene.images, request)
    denoisers = {part: pictures.pop(part) for part in ("denoiser", "denoiser_weak")}
    return {"judge": judge, **pictures, **_of_codes(scene, request), **denoisers}


def _of_codes(pictures: Pictures, request: Request) -> dict[str, Maker]:
    """A tokenizer, and the circuits over its codes."""
    seed, toy = request.seed, request.scale == "toy"

    def tokenizer(path: Path) -> None:
        settings = TokenizerSettings(
            **({"num_codes": 16, "width": 16, "steps": 20, "unquantised_steps": 5} if toy else {})
        )
        number: dict[str, Any] = {"num_images": 256, "num_validation": 64} if toy else {}
        train_scene_tokenizer(pictures, path, seed, settings=settings, checkpoint=checkpoint_of(path), **number)

    def codes(path: Path) -> None:
        structure = path.stem.removeprefix("codes_")
        sizes: dict[str, Any] = {"num_images": 256, "num_latents": 4, "epochs": 1} if toy else {}
        inputs = _beside(path, "tokenizer"), structure
        train_code_circuit(pictures, path, *inputs, seed=seed, checkpoint=checkpoint_of(path), **sizes)

    return {"tokenizer": tokenizer, "codes_hclt": codes, "codes_quad_tree": codes}


def _of_pictures(world: str, images: Images, request: Request) -> dict[str, Maker]:
    """Of any world of colour pictures; the circuit's maker writes the codebook too."""
    toy = {"images": 256, "num_codes": 8, "num_latents": 4, "rounds": 1, "epochs": 1}
    leaves = {"rank": 4, "whole": 256} if world == "clothes" else {}
    settings = PatchSettings(**leaves, **(toy if request.scale == "toy" else {}))

    def circuit(path: Path) -> None:
        files = path, _beside(path, "codebook")
        kept = checkpoint_of(path)
        train_patch_circuit(world, images, *files, seed=request.seed, settings=settings, checkpoint=kept)

    def circuit_independent(path: Path) -> None:
        files, kept = (path, _beside(path, "codebook")), checkpoint_of(path)
        train_independent_circuit(world, images, *files, seed=request.seed, checkpoint=kept)

    def denoiser(path: Path) -> None:
        sizes: dict[str, Any] = {"weak": path.stem == "denoiser_weak", "scale": request.scale, "seed": request.seed}
        sizes["steps"] = CLOTHES_STEPS if world == "clothes" and request.scale == "laptop" else None
        train_scene_denoiser(world, images, path, device=request.device, checkpoint=checkpoint_of(path), **sizes)

    circuits: dict[str, Maker] = {"circuit": circuit, "circuit_independent": circuit_independent}
    return circuits | {"denoiser": denoiser, "denoiser_weak": denoiser}


def _beside(path: Path, part: str) -> Path:
    """The file of another part of the same world."""
    return path.with_name(f"{part}.safetensors")
