"""The trained models that come with the package: found, checked against their SHA-256, loaded by name.

    world = load("digits")
    world.denoiser, world.schedule, world.circuit, world.codebook, world.judge, world.images("test")

The files lie in data/ at the root of a checkout, in tiramisu_edu/data in an installed wheel, or where the
environment variable TIRAMISU_DATA points. data/checksums.txt (the format of sha256sum) lists every one of
them, and no file is opened before it agrees with its line. `python -m tiramisu_edu.zoo` writes the list anew.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from tiramisu_edu.errors import FileError, TiramisuError
from tiramisu_edu.files import atomic_path, sha256

if TYPE_CHECKING:
    from tiramisu_edu.circuits.circuit import Circuit
    from tiramisu_edu.diffusion.denoiser import Denoiser
    from tiramisu_edu.diffusion.schedule import Schedule
    from tiramisu_edu.steering.evidence import PixelCodebook
    from tiramisu_edu.worlds.judge import Judge

CHECKSUMS = "checksums.txt"


@dataclass(frozen=True)
class World:
    """An image distribution and the models trained on it."""

    name: str
    denoiser: "Denoiser"
    """p_DM: (x_t, t) -> clean prediction and noise."""
    schedule: "Schedule"
    """The denoiser's full schedule; respace it for fewer steps."""
    circuit: "Circuit"
    """p_PC over the categories of the pixels."""
    codebook: "PixelCodebook"
    """Pixels -> log weights for the circuit, and its marginals -> pixel means."""
    judge: "Judge"
    """Images -> log-probabilities of the labels; trained apart from the models it judges."""
    sampler_options: Mapping[str, Mapping[str, Any]]
    """Sampler name -> its keyword arguments as tuned for this world on validation images."""
    images: Callable[[str], tuple[Tensor, Tensor]]
    """split ("train", "validation" or "test") -> (images (N, C, H, W) in [-1, 1], labels (N,))."""


def load(world_name: str) -> World:
    """Loads a world by name, checking the SHA-256 of each file first.

    Raises: TiramisuError for an unknown name; FileError for a file that is missing or not as published.
    """
    if world_name not in WORLDS:
        raise TiramisuError(f"unknown world {world_name!r}; choose one of {', '.join(WORLDS)}")
    return WORLDS[world_name]()


def data_path(name: str) -> Path:
    """Where the data file `name`, such as "digits/judge.safetensors", is or would be."""
    return data_root() / name


def data_root() -> Path:
    """The data folder: TIRAMISU_DATA, else the wheel's tiramisu_edu/data, else data/ of the checkout."""
    if override := os.environ.get("TIRAMISU_DATA"):
        return Path(override)
    package = Path(__file__).resolve().parent
    installed = package / "data"
    return installed if installed.is_dir() else package.parent / "data"


def verified(path: str | Path) -> Path:
    """The path itself, once the file's SHA-256 agrees with data/checksums.txt.

    Raises: FileError naming the file, the expected and the found digest, and the command that repairs it.
    """
    path, root = Path(path), data_root()
    try:
        name = path.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        raise FileError(f"{path} lies outside the data folder {root}, so it has no known SHA-256") from None
    expected = checksums().get(name)
    if not path.is_file():
        raise FileError(f"{path} is missing, expected SHA-256 {expected or 'not listed'}; {_repair(name)}")
    if expected is None:
        raise FileError(
            f"{path} is not listed in {root / CHECKSUMS}, found SHA-256 {sha256(path)}; "
            "list a file of your own making with: python -m tiramisu_edu.zoo"
        )
    if (found := sha256(path)) != expected:
        raise FileError(
            f"{path} is not the published file: SHA-256 expected {expected}, found {found}; {_repair(name)}"
        )
    return path


def checksums() -> dict[str, str]:
    """File name relative to the data folder -> SHA-256 as 64 hexadecimal digits, from data/checksums.txt.

    Raises: FileError for a list that is missing or has a line of another form.
    """
    path = data_path(CHECKSUMS)
    if not path.is_file():
        raise FileError(f"{path} is missing; {_repair(CHECKSUMS)}")
    listed = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        digest, separator, name = line.partition("  ")
        if len(digest) != 64 or not separator or not name:
            raise FileError(f"{path}, line {number}: expected 'SHA-256  file', found {line!r}; {_repair(CHECKSUMS)}")
        listed[name] = digest
    return listed


def write_checksums() -> Path:
    """Writes data/checksums.txt for every .safetensors file below the data folder; returns its path."""
    root = data_root()
    lines = [f"{sha256(file)}  {file.relative_to(root).as_posix()}\n" for file in sorted(root.rglob("*.safetensors"))]
    with atomic_path(root / CHECKSUMS) as unfinished:
        unfinished.write_text("".join(lines), encoding="utf-8", newline="\n")
    return root / CHECKSUMS


def _repair(name: str) -> str:
    """The command that brings the published file back."""
    if override := os.environ.get("TIRAMISU_DATA"):
        return f"put the published file into {override}, or unset TIRAMISU_DATA to use the package's own"
    if data_root().parent.name == "tiramisu_edu" and (data_root().parent / "zoo.py").is_file():
        return "repair it with: python -m pip install --force-reinstall --no-deps tiramisu-edu"
    return f"repair it with: git checkout -- data/{name}"


def _digits() -> World:
    """The digits world. What it needs is imported here: diffusers alone takes seconds."""
    from tiramisu_edu.circuits.circuit import Circuit
    from tiramisu_edu.diffusion.denoiser import Denoiser
    from tiramisu_edu.diffusion.samplers import CoPaintSettings
    from tiramisu_edu.steering.evidence import PixelCodebook
    from tiramisu_edu.worlds import digits
    from tiramisu_edu.worlds.judge import Judge

    denoiser = Denoiser.load(verified(data_path("digits/denoiser.safetensors")))
    return World(
        name="digits",
        denoiser=denoiser,
        schedule=denoiser.schedule,
        circuit=Circuit.load(verified(data_path("digits/circuit.safetensors"))),
        codebook=PixelCodebook.grey_levels(digits.NUM_LEVELS),
        judge=Judge.load(verified(data_path("digits/judge.safetensors"))),
        sampler_options={"copaint": {"settings": CoPaintSettings.preset("digits")}},
        images=digits.images,
    )


WORLDS: dict[str, Callable[[], World]] = {"digits": _digits}


if __name__ == "__main__":
    print(write_checksums())
