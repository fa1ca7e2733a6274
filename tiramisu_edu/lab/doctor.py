"""`tiramisu-edu doctor`: what this machine has, what it lacks, and the line that repairs it.

[ok] is there, [missing] is needed and not there, [note] is worth knowing but nothing waits for it. Only the
standard library is imported at the top, so that the doctor can speak when a package is missing.
"""

import importlib
import os
import platform
import shlex
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple


class Finding(NamedTuple):
    """One line of the diagnosis."""

    status: Literal["ok", "missing", "note"]
    what: str
    repair: str = ""
    """The command or step that mends it, in one line; empty where nothing is to be done."""


MINIMUM_PYTHON = (3, 10)
PACKAGES = {  # module: requirement, as in pyproject.toml
    "torch": "torch>=2.4",
    "torchvision": "torchvision",
    "numpy": "numpy>=1.26",
    "scipy": "scipy>=1.15",
    "networkx": "networkx>=3.0",
    "pandas": "pandas>=2.1",
    "jinja2": "jinja2>=3.1",
    "matplotlib": "matplotlib>=3.8",
    "PIL": "pillow>=10",
    "safetensors": "safetensors>=0.4",
    "tqdm": "tqdm>=4.66",
    "diffusers": "diffusers>=0.30",
    "lpips": "lpips>=0.1.4",
}
NOTEBOOK_PACKAGES = {"jupyterlab": "jupyterlab>=4.2", "ipywidgets": "ipywidgets>=8.1"}
MEMORY_GIB, DISK_GIB = 4, 2  # the toy scale of the course fits in these


def run() -> int:
    """Prints the diagnosis, one finding a line, and returns the exit code: 1 if something needed is missing."""
    findings = diagnose()
    for status, what, repair in findings:
        print(f"[{status}] {what}" + (f": {repair}" if repair else ""))
    missing = sum(finding.status == "missing" for finding in findings)
    print(f"{missing} missing" if missing else "nothing is missing")
    return 1 if missing else 0


def diagnose() -> list[Finding]:
    """Every check, in the order in which a repair helps the next."""
    findings = [_python()]
    findings += [_package(module, requirement, needed=True) for module, requirement in PACKAGES.items()]
    findings.append(_triton())
    findings += [_package(module, requirement, needed=False) for module, requirement in NOTEBOOK_PACKAGES.items()]
    checks = (_kernel, _lpips_backbone, _memory, _disk, _gpu, _data, _models)
    return findings + [_guarded(check) for check in checks]


def _guarded(check: Callable[[], Finding]) -> Finding:
    """The check's finding; a check that cannot import what it needs says so instead of failing."""
    try:
        return check()
    except ImportError as reason:
        what = f"{check.__name__.strip('_')} not checked ({_first_line(reason)})"
        return Finding("missing", what, "repair the packages first")


def _python() -> Finding:
    found = f"Python {platform.python_version()} at {sys.executable}"
    if sys.version_info >= MINIMUM_PYTHON:
        return Finding("ok", found)
    return Finding("missing", found, "install Python 3.10 or newer and make the environment anew")


def _package(module: str, requirement: str, *, needed: bool) -> Finding:
    """Whether the module can be imported; an installed package that fails to import counts as missing."""
    try:
        version = getattr(_import(module), "__version__", "")
    except Exception as reason:  # a broken binary raises anything from OSError to RuntimeError
        purpose = "" if needed else ", needed for the notebooks only"
        what = f"{module} cannot be imported ({type(reason).__name__}: {_first_line(reason)}){purpose}"
        return Finding("missing" if needed else "note", what, _install(requirement))
    return Finding("ok", f"{module} {version}".strip())


def _triton() -> Finding:
    found = _package("triton", "triton", needed=False)
    if found.status == "ok":
        return found
    if sys.platform != "linux":
        return Finding("note", "triton is made for Linux only; circuits run on the torch engine here")
    return Finding("note", "triton cannot be imported; circuits run on the torch engine", _install("triton"))


def _kernel() -> Finding:
    """The Jupyter kernel that runs the notebooks."""
    found = _package("ipykernel", "ipykernel", needed=False)
    return found if found.status != "ok" else Finding("ok", f"Jupyter kernel ({found.what})")


def _lpips_backbone() -> Finding:
    """LPIPS's own AlexNet weights are torchvision's download; without them the judge's features stand in."""
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if any(folder.glob("alexnet-*.pth")):
        return Finding("ok", f"LPIPS backbone in {folder}")
    return Finding(
        "note",
        "LPIPS backbone not downloaded; tables use the judge's features and say so",
        "python -c 'import torchvision; torchvision.models.alexnet(weights=\"DEFAULT\")'",
    )


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


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30
        return Finding("ok", f"GPU {torch.cuda.get_device_name(0)}, {memory:.0f} GiB")
    return Finding("note", "no CUDA GPU; everything runs on the CPU at the toy and laptop scales")


def _data() -> Finding:
    """Every file that data/checksums.txt lists."""
    from .. import datafiles
    from ..errors import FileError

    try:
        listed = datafiles.checksums()
        for name in listed:
            datafiles.verified(datafiles.data_path(name))
    except FileError as reason:
        return _from_error(reason)
    return Finding("ok", f"{len(listed)} data files agree with {datafiles.data_path(datafiles.CHECKSUMS)}")


def _models() -> Finding:
    """Every shipped world loads."""
    from ..errors import TiramisuError
    from . import zoo

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for name in zoo.WORLDS:
                zoo.load(name).read_all()
    except TiramisuError as reason:
        return _from_error(reason)
    return Finding("ok", f"shipped models load ({', '.join(zoo.WORLDS)})")


def _from_error(reason: Exception) -> Finding:
    """The package's own messages end with the repair after a semicolon."""
    what, _, repair = str(reason).rpartition("; ")
    return Finding("missing", what or repair, repair if what else "")


def _import(module: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(module)


def _install(requirement: str) -> str:
    return f"{shlex.quote(sys.executable)} -m pip install {shlex.quote(requirement)}"


def _first_line(reason: Exception) -> str:
    return (str(reason).splitlines() or [""])[0]
