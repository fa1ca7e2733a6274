"""What decides the numbers of a cell besides its settings: the files that are read, tuned options, and the program.

A kept cell is taken only where all of it is as it was. The program is every module that making a cell imports, as a
syntax tree without comments and docstrings: an edit of prose or of a table's layout leaves cells as they are, an edit
of a sampler does not.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from ..datafiles import digest_of
from ..file_world import FileWorld
from ..worlds.folder import FolderWorld
from .perceptual import official_weights

PACKAGE = Path(__file__).parents[2]
START = PACKAGE / "lab" / "evaluation" / "cells.py"

# Files that only guides of that name read.
READ_BY = {
    "tokenizer": "latent",
    "codes_": "latent",
    "guide_weights.": "learned",
    "guide_weights_difference.": "difference-calibrated",
    "train pictures": "difference-kernel",
}


def origin(world: FileWorld, sampler: str, guide: str) -> dict[str, Any]:
    """Everything that decides what a sampler with a guide gives in a world.

    Returns: "files": name -> SHA-256 of what it holds; "options": tuned ones of the sampler and of the guide;
        "sources": digest of the program.
    """
    unread = tuple(prefix for prefix, reader in READ_BY.items() if not guide.startswith(reader))
    files = {name: sha for name, sha in file_digests(world).items() if not name.partition("/")[2].startswith(unread)}
    options = [world.sampler_options.get(sampler), world.guide_options.get(guide)]
    return {"files": files, "options": options, "sources": sources_digest()}


@lru_cache(maxsize=1)
def file_digests(world: FileWorld) -> dict[str, str]:
    """ "FOLDER/FILE" -> SHA-256 of a world's files, read once for a world, as its models are.

    Of a folder of pictures each split has one, over the names and contents of its pictures.
    """
    folders = dict.fromkeys([world.models, world.tuned_folder])
    paths = [path for folder in folders for path in sorted(folder.glob("*.safetensors"))]
    if weights := official_weights():
        paths.append(weights)
    found = {f"{path.parent.name}/{path.name}": digest_of(path) for path in paths}
    if isinstance(world, FolderWorld):
        for split, files in world.pictures.files.items():
            content = [[file.relative_to(world.pictures.folder).as_posix(), digest_of(file)] for file in files]
            found[f"{world.pictures.folder.name}/{split} pictures"] = hashlib.sha256(
                json.dumps(content).encode()
            ).hexdigest()
    return found


@cache
def sources_digest() -> str:
    """SHA-256 over every module of the package that making a cell imports; computed once a process."""
    found, waiting = {}, [START]
    while waiting:
        path = waiting.pop()
        if path not in found:
            tree = ast.parse(path.read_bytes())
            waiting += _imported(path, tree)
            found[path] = ast.dump(_without_prose(tree))
    digest = hashlib.sha256()
    for path in sorted(found):
        digest.update(f"{path.relative_to(PACKAGE).as_posix()} {found[path]}\n".encode())
    return digest.hexdigest()


def _imported(path: Path, tree: ast.Module) -> Iterator[Path]:
    """The files of the package that a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            for module in (base, *(base / alias.name for alias in node.names)):
                yield from (file for file in (module.with_suffix(".py"), module / "__init__.py") if file.is_file())


def _without_prose(tree: ast.Module) -> ast.Module:
    """The tree without texts that stand alone: docstrings, and notes on attributes."""
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            body[:] = [line for line in body if not (isinstance(line, ast.Expr) and _is_text(line.value))]
    return tree


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
