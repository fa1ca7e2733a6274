"""`tiramisu-edu bench circuits | em`, in a checkout: the engine beside the machine's limit and other libraries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .options import option

HELP = "time the engine beside its limit and its peers (in a checkout)"


@dataclass(frozen=True)
class Options:
    """Of `tiramisu-edu bench`."""

    what: str = option(help="queries beside their limit; or steps of EM", choices=("circuits", "em"))
    peers: bool = option(False, "also every other library that is installed (extra: peers)")
    quick: bool = option(False, "small shapes, seconds instead of minutes: to see it work")
    threads: int = option(0, "of the processor; 0: as PyTorch chooses")
    device: str = option("cpu", "cpu, cuda, cuda:1")
    out: Path = option(Path("out/bench"), "folder for the tables", writes="folder")


def run(options: Options) -> int:
    """Start the measurements, which are part of a checkout only."""
    import importlib

    from ...errors import TiramisuError

    try:
        command = importlib.import_module("benchmarks.command")
    except ModuleNotFoundError as error:
        raise TiramisuError(f"bench needs a checkout: benchmarks/ lies outside the package ({error})") from None
    return command.run(options)
