"""Model files: written whole or not at all, read with a reason when they cannot be.

Every trained model is one safetensors file: named tensors, and JSON metadata that says what they are. There
is no pickle in it, so opening a file never runs code. Each file carries a digest of its own tensors and a seal of its
other entries, and a flipped bit is an error instead of a slightly different picture.
"""

import contextlib
import glob
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from .checks import instance
from .errors import FileError

PACKAGE = "tiramisu_edu"
HEADER = {"package", "kind", "version", "digest", "metadata"}
STALE_SECONDS = 3600
Network = TypeVar("Network", bound=nn.Module)


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A path beside `path` to write to; the file takes the place of `path` when the block ends well.

    When the block fails, or the process is killed, the old file stays as it was. A reader therefore sees the
    old file or the new one, never half of one. A link stays a link, and the file it points to is replaced. What a
    killed process left beside `path` is removed after an hour.

    Raises:
        FileError: `path` is a folder, a device or a pipe.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise FileError(f"{path} is a {'folder' if path.is_dir() else 'device'}: name a file to write")
    path = Path(os.path.realpath(path))
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    name = path.name[:50]  # the longest names that there can be leave no room for more
    for left in folder.glob(f".{glob.escape(name)}.*.partial"):
        with contextlib.suppress(OSError):  # another process may have removed it
            if time.time() - left.stat().st_mtime > STALE_SECONDS:
                left.unlink()
    temporary = folder / f".{name}.{secrets.token_hex(6)}.partial"
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        error.filename = str(path)  # the disk is full: of what was written a reader wants to know the name
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file, atomically."""
    with atomic_path(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8", newline="\n")


def tensor_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the names, dtypes, shapes and bytes of tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_safetensors(
    path: str | Path, tensors: Mapping[str, Tensor], *, kind: str, version: int, metadata: Mapping[str, Any]
) -> None:
    """Write tensors and JSON metadata to one safetensors file, atomically.

    Args:
        path: the file; missing folders are made.
        tensors: named tensors, any device; no two may share memory once made contiguous.
        kind: what the file is, such as "denoiser"; checked again by `load_safetensors`.
        version: version of the layout of this kind of file, counted from 1.
        metadata: anything that `json.dumps` takes.
    """
    stored = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    header = {
        "package": PACKAGE,
        "kind": kind,
        "version": str(version),
        "digest": tensor_digest(stored),
        "metadata": json.dumps(metadata, sort_keys=True),
    }
    header["seal"] = _seal(header)
    with atomic_path(path) as temporary:
        temporary.write_bytes(_in_fixed_order(save(stored, metadata=header)))


def load_safetensors(path: str | Path, *, kind: str, version: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file that `save_safetensors` wrote, and check that it is whole and what the caller expects.

    Args:
        path: the file.
        kind: the kind expected.
        version: the newest layout that the caller understands. Older files are let through; their own version
            is under "version" in the metadata.

    Returns:
        The tensors on the CPU, and the metadata.

    Raises:
        FileError: missing, truncated, damaged, of another kind, or written by a newer version.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"no file {path}: expected a {kind} written by {PACKAGE}")
    with reading(path):
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            _check_header(path, header, kind, version)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = dict(json.loads(header["metadata"]))
        instance("facts", metadata.get("facts", {}), dict)
        if any(tensor.is_complex() for tensor in tensors.values()):
            raise FileError(f"{path} holds complex numbers, which no {kind} does")
        if tensor_digest(tensors) != header["digest"]:
            raise FileError(f"{path} is damaged: its tensors differ from those that were saved; restore the file")
    return tensors, {**metadata, "version": int(header["version"])}


@contextlib.contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turns whatever fails while the contents of a file are read into one FileError that names the file.

    Tensors made within are ordinary ones, also inside `torch.inference_mode()`.
    """
    try:
        with torch.inference_mode(False):
            yield
    except FileError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}".split("\n")[0]
        raise FileError(f"{path} is truncated or damaged ({what}): restore it or train it again") from error


@contextlib.contextmanager
def loaded(path: str | Path, *, kind: str, version: int) -> Iterator[tuple[dict[str, Tensor], dict[str, Any]]]:
    """`load_safetensors`, and whatever fails while its result is put together as in `reading`."""
    found = load_safetensors(path, kind=kind, version=version)
    with reading(path):
        yield found


def with_weights(build: Callable[[], Network], weights: Mapping[str, Tensor]) -> Network:
    """A network for use: float32, in evaluation mode, without gradients. Nothing is drawn for initial weights.

    Raises:
        ValueError, RuntimeError: the weights are of other names, shapes or types than the network's, or not finite.
    """
    for name, weight in weights.items():
        if not (weight.is_floating_point() and bool(weight.isfinite().all())):
            raise ValueError(f"weights {name!r} of {weight.dtype} are not finite floats")
    with torch.device("meta"):
        network = build()
    # Fresh copies: weights left where the file was read may be misaligned, which changes last digits.
    network.load_state_dict(
        {name: weight.to(torch.float32, copy=True) for name, weight in weights.items()}, assign=True
    )
    return network.eval().requires_grad_(False)


def _seal(header: Mapping[str, str]) -> str:
    """SHA-256 over every entry of the header but the seal itself."""
    return hashlib.sha256(json.dumps({k: header[k] for k in sorted(HEADER)}).encode()).hexdigest()


def _in_fixed_order(content: bytes) -> bytes:
    """The same safetensors file with its metadata sorted, so that equal models are equal files, byte for byte."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def _check_header(path: Path, header: Mapping[str, str], kind: str, version: int) -> None:
    if header.get("package") != PACKAGE:
        raise FileError(f"{path} was not written by {PACKAGE}: expected a {kind}")
    if header.get("kind") != kind:
        raise FileError(f"{path} holds a {header.get('kind')}, expected a {kind}")
    found = header.get("version", "")
    if not (found.isascii() and found.isdigit()) or not 1 <= int(found) <= version:
        raise FileError(f"{path} has version {found or 'none'}, expected 1 to {version}: update {PACKAGE}")
    if not set(header) <= HEADER | {"seal"} or ("seal" in header and header["seal"] != _seal(header)):
        raise FileError(f"{path} is damaged: its header differs from the one that was saved; restore the file")
