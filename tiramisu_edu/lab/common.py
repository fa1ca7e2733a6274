"""What several commands need: the device, checks of output paths, files of numbers and texts, facts of the machine."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import TiramisuError
from ..files import write_text
from ..names import FOLDER
from .pictures import check_output, save_image


def chosen_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        TiramisuError: when there is no such device here.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # a device without memory, such as meta, fails here
    except (RuntimeError, AssertionError, NotImplementedError):
        raise TiramisuError(f"device {name!r} is not available here: use --device cpu") from None
    return device


@contextlib.contextmanager
def joined(device: str) -> Iterator[str]:
    """Under `torchrun`, join the other processes; gives the device of this one."""
    if not torch.distributed.is_available() or not torch.distributed.is_torchelastic_launched():
        yield device
        return
    device = f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" else device
    if torch.device(device).type == "cuda":
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if torch.device(device).type == "cuda" else "gloo")
    try:
        yield device
    finally:
        torch.distributed.destroy_process_group()


def check_outputs(options: Any) -> None:
    """Refuse results that could not be written, or that would replace a file that is read; nothing is made yet.

    Args:
        options: of a command; the fields with `writes` are its results, all others may name what it reads.

    Raises:
        TiramisuError: a folder where a file is due or the reverse, a place that may not be written to, a name that is
            taken by an input or another result.
        ImageError: a picture of a format that cannot be written.
    """
    files, results = _named(options)
    for path, kind in results:
        check_place(path, kind, files)
        files.append(path)


def completed_paths(options: Any, names: Iterable[str]) -> list[Path]:
    """A file for each completed picture, beside the sheet `options.out` and named after it, checked like the sheet."""
    files, results = _named(options)
    paths = [options.out.with_stem(f"{options.out.stem}_{name}") for name in names]
    for path in paths:
        check_place(path, "picture", files + [result for result, _ in results])
    return paths


def save_completed(paths: Sequence[Path], images: Iterable[Tensor]) -> str:
    """Write each completed picture in the world's size; returns a line with their paths."""
    for path, image in zip(paths, images, strict=True):
        save_image(image, path)
    return "completed: " + (f"{paths[0]} ... {paths[-1]}" if len(paths) > 4 else ", ".join(map(str, paths)))


def _named(options: Any) -> tuple[list[Path], list[tuple[Path, str]]]:
    """The files and the folders of pictures that a command reads, and its results, each with its kind."""
    read: list[Path] = []
    results: list[tuple[Path, str]] = []
    for f in fields(options):
        value = getattr(options, f.name)
        if "writes" in f.metadata:
            results += [] if value is None else [(value, f.metadata["writes"])]
        else:
            named = (str(each) for each in (value if isinstance(value, tuple) else (value,)) if each is not None)
            kept = (name for name in named if name.startswith(FOLDER) or os.path.isfile(name))
            read += [Path(name.removeprefix(FOLDER)) for name in kept]
    return read, results


def check_place(path: Path, kind: str, inputs: Sequence[Path] = ()) -> None:
    """Refuse one result: a "picture", "file" or "folder"; see `check_outputs`."""
    for each in inputs:
        if each.resolve() == path.resolve():
            raise TiramisuError(f"{path} is read, or written, by the same command: choose another name for the result")
        if each.is_dir() and each.resolve() in path.resolve().parents:
            raise TiramisuError(f"{path} would lie among the pictures of {each}: choose another place for the result")
    if kind == "folder":
        place = next(each for each in (path, *path.absolute().parents) if each.exists())
        if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
            raise TiramisuError(f"{path} cannot be a folder of results: {place} is no folder that may be written to")
    elif kind == "picture":
        check_output(path, *inputs)
    elif path.is_dir() or path.is_file() or not path.exists():  # no device or pipe
        check_output(path, *inputs, suffixes=[path.suffix.lower()])


def write_json(path: Path | None, report: dict) -> None:
    """Write the report, atomically; nothing where `path` is None."""
    if path is not None:
        write_text(path, json.dumps(report, indent=2) + "\n")


def fast_bfloat16(device: str) -> bool:
    """Whether 16-bit arithmetic saves time there: on GPUs, and on processors with instructions for it."""
    told: Any = getattr(torch.cpu, "get_capabilities", dict)  # which older versions lack
    return torch.device(device).type == "cuda" or bool(told().get("avx512_bf16", False))


def machine_facts(device: torch.device) -> str:
    """One line: processor, threads, PyTorch, device, and the load of the machine at this moment."""
    facts = [platform.machine(), _processor(), f"{torch.get_num_threads()} threads of {os.cpu_count()} cores"]
    facts += [torch.backends.cpu.get_cpu_capability(), f"PyTorch {torch.__version__}"]
    facts += [f"Python {platform.python_version()}"]
    if device.type == "cuda":
        facts.append(torch.cuda.get_device_name(device))
    if hasattr(os, "getloadavg"):
        facts.append(f"load {os.getloadavg()[0]:.1f}")
    return ", ".join(facts)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"
