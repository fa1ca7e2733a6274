"""Every file that a world is made of, and the recipe that makes it: what `tiramisu-edu train` goes through."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from ...checkpoint import Checkpoint
from ...errors import TiramisuError, known_name, unknown_name
from ...names import FOLDER
from ..common import check_place
from ..datafiles import data_root, write_checksums
from ..memory import reserve
from ..worlds import clothes, digits, scene
from ..worlds.drawing import UNITS
from ..worlds.folder import FolderWorld
from ..zoo import SCENES, DigitsWorld
from . import denoiser, judge, pixel_circuit
from .code_circuit import CodeSettings, code_memory, train_code_circuit
from .denoiser import Recipe, denoiser_memory, train_world_denoiser
from .judge import JudgeSettings, judge_memory, train_judge
from .patch_circuit import PatchSettings, patch_memory, train_independent_circuit, train_patch_circuit
from .tokenizer import TokenizerSettings, tokenizer_memory, train_world_tokenizer
from .training import Job, Source, checkpoint_of

TOGETHER = {"codebook": ("circuit",), "codes": ("codes_hclt", "codes_quad_tree")}  # part -> what is made for it


class Part(NamedTuple):
    """How a file is made.

    Attributes:
        train: the recipe.
        settings: its second argument.
        memory: (settings, number of training pictures, their side) -> the bytes that it needs besides the pictures;
            None: next to nothing.
    """

    train: Callable[[Job, Any], object]
    settings: Any = None
    memory: Callable[[Any, int, int], float] | None = None


class Plan(NamedTuple):
    """All that a world is made of.

    Attributes:
        folder: of the files.
        source: the pictures.
        size: their side in pixels.
        parts: the name of each file, in the order in which all are made.
        most: how many pictures there are to train on.
        channels: of those pictures that are held in memory; 0 where they are read from a file.
    """

    folder: Path
    source: Source
    size: int
    parts: dict[str, Part]
    most: int
    channels: int

    def memory(self, part: Part) -> float:
        """About how many bytes a recipe needs; pictures are drawn or unpacked in pieces, which are then joined."""
        assert part.memory is not None
        wanted = getattr(part.settings, "images", None)
        count = self.most if wanted is None else min(wanted, self.most)
        return part.memory(part.settings, count, self.size) + 2 * 4 * count * self.channels * self.size**2


def make(request: Any) -> None:
    """Make one part or all, each from its checkpoint where it was stopped, and renew the checksums.

    Raises:
        TiramisuError: for an unknown world, a part or scale that the world does not have, or too little memory.
    """
    planned = plan(request)
    parts, folder = planned.parts, planned.folder
    check_place(folder, "folder")
    asked = list(parts) if request.part == "all" else TOGETHER.get(request.part, (request.part,))
    names = [name for name in asked if name in parts]
    if not names:
        raise unknown_name(f"part of {request.world}", request.part, [*parts, "all"])
    for name in names:
        start, part, path = time.perf_counter(), parts[name], folder / f"{name}.safetensors"
        print(f"{name}: {path}", flush=True)
        if part.memory is not None:
            reserve(name, planned.memory(part), request.device)
        kept = checkpoint_of(path)
        part.train(Job(planned.source, path, request.seed, request.device, kept, _command(request)), part.settings)
        Checkpoint(kept, {}).remove()
        print(f"{name}: done in {time.perf_counter() - start:.1f} s", flush=True)
        if request.out is None and not request.world.startswith(FOLDER):
            write_checksums()  # after each part: the next one reads the files made before it


def plan(request: Any) -> Plan:
    """What a world is made of, with the settings of the request."""
    name = request.world
    if name.startswith(FOLDER):
        if request.out is not None:
            raise TiramisuError("--out is for the worlds that ship; say --models for the models of a folder")
        world = FolderWorld(name, size=request.size, models=request.models)
        world.models.mkdir(parents=True, exist_ok=True)
        pictures = world.pictures
        print(f"{pictures.folder}: {pictures}", flush=True)
        return Plan(world.models, pictures, pictures.size, _of_pictures(request), len(pictures.files["train"]), 0)
    if request.size is not None or request.models is not None:
        raise TiramisuError(f"--size and --models are for folders, such as {FOLDER}PATH; {name} has its own")
    if request.source is not None and name != "clothes":
        raise TiramisuError(f"--source is for clothes; {name} has its own pictures")
    kinds = {"digits": _of_digits, "clothes": _of_clothes} | dict.fromkeys(SCENES, _of_scene)
    known_name("world", name, [*kinds, f"{FOLDER}PATH"])
    return Plan((request.out or data_root()) / name, *kinds[name](request))


def _of_digits(request: Any) -> tuple[Source, int, dict[str, Part], int, int]:
    if request.scale != "laptop":
        raise TiramisuError(f"digits come in one scale, laptop; there is no {request.scale}")
    parts = {
        "circuit": Part(pixel_circuit.train_digits_circuit, pixel_circuit.RECIPE),
        "denoiser": _denoiser(denoiser.DIGITS, request),
        "judge": Part(train_judge, judge.DIGITS, judge_memory),
    }
    return DigitsWorld("digits"), digits.WIDTH, parts, digits.SPLITS["train"], 1


def _of_clothes(request: Any) -> tuple[Source, int, dict[str, Part], int, int]:
    """Of clothes: all pictures of the folder `source`, or those that ship."""
    toy = request.scale == "toy"
    made = _of_pictures(request, {"rank": 4, "whole": 256}, None if request.scale != "laptop" else 3_000)
    parts = {
        "judge": Part(train_judge, replace(judge.CLOTHES, epochs=1) if toy else judge.CLOTHES, judge_memory),
        **{name: made[name] for name in ("circuit", "circuit_independent", "tokenizer", "codes_hclt", "denoiser")},
    }
    return clothes.Clothes(request.source), clothes.SIZE, parts, 5_500 if request.source is None else 59_500, 1


def _of_scene(request: Any) -> tuple[Source, int, dict[str, Part], int, int]:
    """Of a procedural world. Only the denoisers grow beyond the scale laptop."""
    toy: JudgeSettings = replace(judge.SCENE, images=256, epochs=1, num_test=64)
    settings = toy if request.scale == "toy" else judge.SCENE
    parts = {"judge": Part(train_judge, settings, judge_memory)} | _of_pictures(request)
    return SCENES[request.world], UNITS, parts, max(scene.SPLITS["train"], request.images or 0), 3


def _of_pictures(request: Any, leaves: dict[str, int] | None = None, steps: int | None = None) -> dict[str, Part]:
    """Of any world of pictures in patches; the circuit's recipe writes the codebook too.

    Args:
        request: the options.
        leaves: rank and whole of `PatchSettings`.
        steps: of the denoiser where the request has none; None: those of the scale.
    """
    toy = request.scale == "toy"
    small = {"images": 256, "num_codes": 8, "num_latents": 4, "rounds": 1, "epochs": 1} if toy else {}
    patches = _changed(PatchSettings(**(leaves or {}), **small), request, "images", "num_latents", "patch", "minutes")
    sizes = {"images": 256, "num_codes": 16, "width": 16, "steps": 20, "unquantised_steps": 5} if toy else {}
    tokens = _changed(TokenizerSettings(**sizes), request, "images", "steps", "minutes")
    tokens = replace(tokens, unquantised_steps=min(tokens.unquantised_steps, tokens.steps // 4))
    codes = CodeSettings("hclt", tokens.num_codes, tokens.images, *((4, 1) if toy else ()))
    codes = _changed(codes, request, "num_latents")
    recipe = denoiser.SCALES[request.scale]
    if steps is not None:
        recipe = replace(recipe, settings=replace(recipe.settings, steps=steps))
    full = _denoiser(recipe, request)
    return {
        "circuit": Part(train_patch_circuit, patches, patch_memory),
        "circuit_independent": Part(train_independent_circuit, replace(patches, num_latents=1), patch_memory),
        "tokenizer": Part(train_world_tokenizer, tokens, tokenizer_memory),
        "codes_hclt": Part(train_code_circuit, codes, code_memory),
        "codes_quad_tree": Part(train_code_circuit, replace(codes, structure="quad_tree"), code_memory),
        "denoiser": full,
        "denoiser_weak": full._replace(settings=denoiser.weak(full.settings)),
    }


def _denoiser(recipe: Recipe, request: Any) -> Part:
    settings = _changed(recipe.settings, request, "steps", "minutes")
    return Part(train_world_denoiser, replace(_changed(recipe, request, "images"), settings=settings), denoiser_memory)


def _changed(settings: Any, request: Any, *names: str) -> Any:
    """Settings with those of the named options that were given."""
    given = {name: getattr(request, name) for name in names}
    return replace(settings, **{name: value for name, value in given.items() if value is not None})


def _command(request: Any) -> str:
    """The command that makes another part with the same options; the part's name is to follow."""
    given = {f.name.replace("_", "-"): (getattr(request, f.name), f.default) for f in fields(request)}
    changed = {name: value for name, (value, default) in given.items() if value != default}
    options = [
        word for name, value in changed.items() if name not in ("world", "part") for word in (f"--{name}", str(value))
    ]
    return shlex.join(["tiramisu-edu", "train", request.world, *options, "--part"])
