"""The data files that come with the package: where they lie, and whether each is as published.

The files lie in data/ at the root of a checkout, in tiramisu_edu/data in an installed wheel, or where the
environment variable TIRAMISU_DATA points. data/checksums.txt (the format of sha256sum) lists every one of
them. `python -m tiramisu_edu.lab.datafiles` writes the list anew.
"""

import hashlib
import os
from functools import cache
from pathlib import Path

from ..errors import FileError
from ..files import write_text

CHECKSUMS = "checksums.txt"
KINDS = (".safetensors", ".json")


def data_path(name: str) -> Path:
    """Where the data file `name`, such as "digits/judge.safetensors", is or would be."""
    return data_root() / name


def data_root() -> Path:
    """The data folder: TIRAMISU_DATA, else the wheel's tiramisu_edu/data, else data/ of the checkout."""
    if override := os.environ.get("TIRAMISU_DATA"):
        return Path(override)
    package = Path(__file__).resolve().parents[1]
    installed = package / "data"
    return installed if installed.is_dir() else package.parent / "data"


def verified(path: str | Path) -> Path:
    """The path itself, once the file's SHA-256 agrees with data/checksums.txt.

    Raises:
        FileError: naming the file, the expected and the found digest, and the command that repairs it.
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
            "list a file of your own making with: python -m tiramisu_edu.lab.datafiles"
        )
    if (found := sha256(path)) != expected:
        raise FileError(
            f"{path} is not the published file: SHA-256 expected {expected}, found {found}; {_repair(name)}"
        )
    return path


def sha256(path: str | Path) -> str:
    """SHA-256 of a file as 64 hexadecimal digits.

    Raises:
        FileError: the file is missing or cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error
    return digest.hexdigest()


def digest_of(path: Path) -> str:
    """SHA-256 of a file, read again where its time or size has changed."""
    facts = path.stat()
    return _digest(path, facts.st_mtime_ns, facts.st_size)


@cache
def _digest(path: Path, time: int, size: int) -> str:
    return sha256(path)


def checksums() -> dict[str, str]:
    """File name relative to the data folder -> SHA-256 as 64 hexadecimal digits, from data/checksums.txt.

    Raises:
        FileError: for a list that is missing or has a line of another form.
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
    """Writes data/checksums.txt for every .safetensors and .json file below the data folder; returns its path."""
    root = data_root()
    files = sorted(file for kind in KINDS for file in root.rglob(f"*{kind}"))
    lines = [f"{sha256(file)}  {file.relative_to(root).as_posix()}\n" for file in files]
    write_text(root / CHECKSUMS, "".join(lines))
    return root / CHECKSUMS


def _repair(name: str) -> str:
    """The command that brings the published file back."""
    if override := os.environ.get("TIRAMISU_DATA"):
        return f"put the published file into {override}, or unset TIRAMISU_DATA to use the package's own"
    if data_root().parent.name == "tiramisu_edu" and (data_root().parent / "lab" / "datafiles.py").is_file():
        return "repair it with: python -m pip install --force-reinstall --no-deps tiramisu-edu"
    return f"repair it with: git checkout -- data/{name}"


if __name__ == "__main__":
    print(write_checksums())
