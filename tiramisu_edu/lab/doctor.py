"""`tiramisu-edu doctor`: what this machine has, what it lacks, and the line that repairs it.

[ok] is there, [missing] is needed and not there, [note] is worth knowing but nothing waits for it. Only the
standard library is imported at the top: the diagnosis is printed also where a package is missing.
"""

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shlex
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ..errors import TiramisuError

HELP = "check the installation, the data and the models"
MINIMUM_PYTHON = (3, 10)
MODULES = {"pillow": "PIL"}  # distribution: module, where the names differ
IMPORTED = ("torch", "numpy", "pillow", "safetensors")  # by every command; importing the others takes ten seconds
MEMORY_GIB, DISK_GIB = 4, 2  # enough for the toy scale of the course


class Finding(NamedTuple):
    """One line of the diagnosis; `repair` is the command or step that mends it, empty where nothing is to be done."""

    status: Literal["ok", "missing", "note"]
    what: str
    repair: str = ""


@dataclass(frozen=True)
class Options:
    """Of `tiramisu-edu doctor`: none."""


def run(options: Options) -> int:
    """Print the diagnosis, one finding a line, and return the exit code: 1 if something needed is missing."""
    findings = diagnose()
    for status, what, repair in findings:
        print(f"[{status}] {what}" + (f": {repair}" if repair else ""))
    missing = sum(finding.status == "missing" for finding in findings)
    print(f"{missing} missing" if missing else "nothing is missing")
    return 1 if missing else 0


def diagnose() -> list[Finding]:
    """Every check, in the order in which a repair helps the next."""
    python = f"Python {platform.python_version()} at {sys.executable}"
    old = Finding("missing", python, "install Python 3.10 or newer and make the environment anew")
    findings = [Finding("ok", python) if sys.version_info >= MINIMUM_PYTHON else old]
    findings += [package(requirement, needed=needed) for requirement, needed in requirements().items()]
    return findings + [guarded(check, *modules) for check, modules in CHECKS.items()]


def requirements() -> dict[str, bool]:
    """Requirement -> whether it is needed, as the installed package declares them; the others are for notebooks."""
    found = {}
    for line in importlib.metadata.requires("tiramisu-edu") or []:
        requirement, _, condition = (part.strip() for part in line.partition(";"))
        if not condition or "notebooks" in condition or ("sys_platform" in condition and sys.platform == "linux"):
            found[requirement] = not condition
    return found | {"ipykernel": False}


def package(requirement: str, *, needed: bool) -> Finding:
    """Whether a package is there; one of IMPORTED that is installed and fails to import counts as missing."""
    name = "".join(requirement.partition(">=")[0].split())
    module = MODULES.get(name, name)
    try:
        if name in IMPORTED:
            _import(module)
        elif importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(f"No module named {module!r}")
        version = importlib.metadata.version(name)
    except Exception as reason:  # a broken binary raises anything from OSError to RuntimeError
        purpose = "" if needed else "; the models run without it"
        what = f"{name} cannot be imported ({type(reason).__name__}: {_first_line(reason)}){purpose}"
        repair = f"{shlex.quote(sys.executable)} -m pip install {shlex.quote(requirement)}"
        return Finding("missing" if needed else "note", what, repair)
    return Finding("ok", f"{name} {version}")


def guarded(check: Callable[..., Finding], *modules: str) -> Finding:
    """The finding of a check, which gets the modules it needs; where one cannot be imported, that is the finding."""
    try:
        return check(*map(_import, modules))
    except TiramisuError as reason:  # the package's own messages end with the repair after a semicolon
        what, _, repair = str(reason).rpartition("; ")
        return Finding("missing", what or repair, repair if what else "")
    except Exception as reason:  # a package that is missing or broken
        what = f"{check.__name__.strip('_')} not checked ({_first_line(reason)})"
        return Finding("missing", what, "repair the packages first")


def _lpips_backbone(torch: Any) -> Finding:
    """LPIPS's own AlexNet weights are torchvision's download; without them the judge's features stand in."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if any(folder.glob("alexnet-*.pth")):
        return Finding("ok", f"LPIPS backbone in {folder}")
    download = "python -c 'import torchvision; torchvision.models.alexnet(weights=\"DEFAULT\")'"
    return Finding("note", "LPIPS backbone not downloaded; tables use the judge's features and say so", download)


def _memory() -> Finding:
    if not hasattr(os, "sysconf"):
        return Finding("note", "memory cannot be read on this system")
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    if total >= MEMORY_GIB:
        return Finding("ok", f"memory {total:.0f} GiB")
    return Finding("note", f"memory {total:.1f} GiB", f"stay at TIRAMISU_SCALE=toy; {MEMORY_GIB} GiB are comfortable")


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    if free >= DISK_GIB:
        return Finding("ok", f"disk {free:.0f} GiB free")
    return Finding("note", f"disk {free:.1f} GiB free", f"free {DISK_GIB} GiB before training or running the course")


def _gpu(torch: Any) -> Finding:
    if not torch.cuda.is_available():
        return Finding("note", "no CUDA GPU; everything runs on the CPU at the toy and laptop scales")
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    return Finding("ok", f"GPU {torch.cuda.get_device_name(0)}, {memory:.0f} GiB")


def _data(datafiles: Any) -> Finding:
    """Every file that data/checksums.txt lists."""
    listed = datafiles.checksums()
    for name in listed:
        datafiles.verified(datafiles.data_path(name))
    return Finding("ok", f"{len(listed)} data files agree with {datafiles.data_path(datafiles.CHECKSUMS)}")


def _models(zoo: Any) -> Finding:
    """One shipped world loads, so the code reads its files; those of the others have their checksums."""
    name = next(iter(zoo.WORLDS))
    zoo.load(name).read_all()
    return Finding("ok", f"shipped models load ({name})")


CHECKS: dict[Callable[..., Finding], tuple[str, ...]] = {
    _lpips_backbone: ("torch",),
    _memory: (),
    _disk: (),
    _gpu: ("torch",),
    _data: ("tiramisu_edu.lab.datafiles",),
    _models: ("tiramisu_edu.lab.zoo",),
}


def _import(module: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(module)


def _first_line(reason: Exception) -> str:
    return (str(reason).splitlines() or [""])[0]
