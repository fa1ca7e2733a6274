"""A study: pairs of pictures under codes that say nothing, and the key that says whose picture each one is."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from jinja2 import Template
from PIL import Image
from torch import Tensor

from tiramisu_edu.errors import FileError, ImageError, TiramisuError
from tiramisu_edu.files import load_safetensors, write_text
from tiramisu_edu.lab.evaluation.cells import KIND, VERSION
from tiramisu_edu.lab.pictures import open_picture
from tiramisu_edu.lab.worlds.folder import KINDS

QUESTION = "Which picture looks more natural?"
_WORD = 0xFFFFFFFF  # 32 bits


class Pair(NamedTuple):
    """Two pictures side by side; in `Key.plan`, as one voter sees them."""

    name: str
    """Of the file, or its number."""
    left: str
    """Code of the picture on the left."""
    right: str
    """Code of the picture on the right."""
    a_left: bool
    """Whether the left one is A's: what the voter must not know."""

    @property
    def mirrored(self) -> Pair:
        """The same pair with its sides exchanged."""
        return Pair(self.name, self.right, self.left, not self.a_left)


class Key(NamedTuple):
    """What decodes the votes; without it they are codes."""

    question: str
    """Put to every voter."""
    names: tuple[str, str]
    """Of method A and of method B."""
    seed: int
    """That drew the sides."""
    pairs: tuple[Pair, ...]
    """Sorted by code, so that their order says nothing. A is on the left in half of them."""

    @property
    def study(self) -> str:
        """16 hexadecimal digits; other pictures, names, question or seed give others."""
        return hashlib.sha256(json.dumps(self).encode()).hexdigest()[:16]

    def plan(self, voter: str) -> list[Pair]:
        """The questions in this voter's own order. Every other voter, at random, has all sides exchanged.

        So A stands on the left in half of a voter's pairs, and each pair with A on the left for half of the voters:
        a habit of clicking left adds nothing to the vote difference. Equal names get equal plans, which is how an
        interrupted voter goes on; `page.html` draws the same plan in the voter's browser.

        Raises:
            TiramisuError: a voter's name is 1 to 40 letters, digits, spaces and - _ .
        """
        if not re.fullmatch(r"[\w .-]{1,40}", voter) or voter != voter.strip():
            raise TiramisuError(f"the voter's name {voter!r} must be 1 to 40 letters, digits, spaces and - _ .")
        own = f"{self.study} {voter}"
        mirror = scramble(own) % 2 == 1
        order = sorted(self.pairs, key=lambda pair: scramble(f"{own} {pair.left}"))
        return [pair.mirrored if mirror else pair for pair in order]

    def save(self, path: str | Path) -> Path:
        """Write the key as JSON, atomically; its path."""
        write_text(path, json.dumps({"study": self.study, **self._asdict()}, indent=1))
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Key:
        """Read a key that `save` wrote.

        Raises:
            FileError: missing, or not as it was written.
        """
        try:
            found = json.loads(Path(path).read_text(encoding="utf-8"))
            pairs = tuple(Pair(*pair) for pair in found["pairs"])
            key, study = cls(found["question"], tuple(found["names"]), found["seed"], pairs), found["study"]
        except OSError as error:
            raise FileError(f"cannot read the key {path}: {error.strerror}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise FileError(f"{path} is no key of a preference study ({error!r})") from error
        if study != key.study:
            raise FileError(f"{path} was changed after it was written: restore the key, or the votes cannot be decoded")
        return key


class Study(NamedTuple):
    """A key and the pictures it speaks of."""

    key: Key
    pictures: dict[str, bytes]
    """Code -> PNG without any metadata."""


def write_page(study: Study, path: str | Path) -> Path:
    """Write the page that voters open in a browser; its path.

    It needs no network or server, shows the pairs in each voter's own order, keeps the votes in the browser at every
    click, and offers them as the CSV file that `read_votes` reads. Of the key it holds the codes only.
    """
    pictures = {code: f"data:image/png;base64,{base64.b64encode(png).decode()}" for code, png in study.pictures.items()}
    pairs = [[pair.left, pair.right] for pair in study.key.pairs]
    known = {"study": study.key.study, "question": study.key.question, "pairs": pairs, "pictures": pictures}
    page = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8")).render(study=known)
    write_text(path, page)
    return Path(path)


def study_of_images(
    a: Tensor, b: Tensor, names: tuple[str, str] = ("A", "B"), *, question: str = QUESTION, seed: int = 0
) -> Study:
    """A study of two methods' pictures of the same cases.

    Args:
        a, b: (N, C, H, W) in [-1, 1], C = 1 or 3; picture n of a is shown beside picture n of b.
        names: of the two methods.
        question: put to every voter.
        seed: of the sides and of each voter's order.

    Raises:
        ImageError: shapes that differ, or no pair.
    """
    if a.dim() != 4 or a.shape != b.shape or a.shape[1] not in (1, 3):
        raise ImageError(
            f"a and b must be (N, 1 or 3, H, W), equal in shape, not {tuple(a.shape)} and {tuple(b.shape)}"
        )
    both = [{f"{n:04}": _picture(image) for n, image in enumerate(images)} for images in (a, b)]
    return _study(both[0], both[1], names, question, seed)


def study_of_files(
    a: str | Path,
    b: str | Path,
    names: tuple[str, str] | None = None,
    *,
    question: str = QUESTION,
    seed: int = 0,
    num_pairs: int | None = None,
) -> Study:
    """A study of two folders with equal file names, DIR_A/x.png against DIR_B/x.png, or of two cells of `evaluate`.

    Args:
        a, b: folders of pictures, or files such as out/evaluation/cells/faces-left-ddim-….safetensors.
        names: of the two methods; None takes those of the folders or files.
        question: put to every voter.
        seed: of the sides, of each voter's order, and of the choice of pairs.
        num_pairs: how many to draw at random; None takes all.

    Raises:
        FileError: no such folder or file, or names that do not match.
        ImageError: no picture, one that cannot be read, two of a pair that differ in size, or fewer than num_pairs.
    """
    a, b = Path(a), Path(b)
    first, second = _read(a), _read(b)
    for path, lonely in ((a, first.keys() - second.keys()), (b, second.keys() - first.keys())):
        if lonely:
            some = ", ".join(sorted(lonely)[:3]) + (" and others" if len(lonely) > 3 else "")
            raise FileError(f"each picture needs a partner of the same name, but only {path} has {some}")
    if num_pairs is not None:
        if not 1 <= num_pairs <= len(first):
            raise ImageError(f"{num_pairs} pairs cannot be drawn from {len(first)}; take 1 to {len(first)}")
        drawn = torch.randperm(len(first), generator=torch.Generator().manual_seed(seed))[:num_pairs].tolist()
        chosen = [sorted(first)[index] for index in drawn]
        first, second = ({name: pictures[name] for name in chosen} for pictures in (first, second))
    if names is None:
        names = (a.name, b.name) if a.name != b.name else (str(a), str(b))
    return _study(first, second, names, question, seed)


def scramble(text: str) -> int:
    """32 bits that look random: FNV-1a and the last steps of MurmurHash3, as in the script of `page.html`."""
    h = 0x811C9DC5
    for byte in text.encode():
        h = (h ^ byte) * 0x01000193 & _WORD
    h = (h ^ h >> 16) * 0x85EBCA6B & _WORD
    h = (h ^ h >> 13) * 0xC2B2AE35 & _WORD
    return h ^ h >> 16


def _study(
    a: Mapping[str, Image.Image], b: Mapping[str, Image.Image], names: tuple[str, str], question: str, seed: int
) -> Study:
    """Codes, and A on the left in half of the pairs."""
    if names[0] == names[1]:
        raise TiramisuError(f"both methods are called {names[0]!r}: give names that tell them apart")
    if not a:
        raise ImageError("a study needs at least one pair of pictures")
    pairs: list[Pair] = []
    pictures: dict[str, bytes] = {}
    half = torch.randperm(len(a), generator=torch.Generator().manual_seed(seed)) % 2 == 0
    for name, a_left in zip(sorted(a), half.tolist()):
        if a[name].size != b[name].size:
            sizes = " and ".join(f"{x[name].width} x {x[name].height}" for x in (a, b))
            raise ImageError(f"pair {name}: pictures of {sizes} pixels; a difference in size gives the method away")
        pngs = [_png(picture) for picture in (a[name], b[name])]
        # From the pixels alone: nobody who guesses the seed learns from a code whose picture it is.
        codes = ["p" + hashlib.sha256(f"{seed} {name} ".encode() + png).hexdigest()[:12] for png in pngs]
        pictures |= dict(zip(codes, pngs))
        pair = Pair(name, codes[0], codes[1], True)
        pairs.append(pair if a_left else pair.mirrored)
    key = Key(question, names, seed, tuple(sorted(pairs, key=lambda pair: pair.left)))
    return Study(key, dict(sorted(pictures.items())))


def _read(path: Path) -> dict[str, Image.Image]:
    """Name -> picture, of a folder or of an evaluation's cell."""
    if path.is_file():
        tensors, _ = load_safetensors(path, kind=KIND, version=VERSION)
        images = tensors["completions"].float() / 127.5 - 1
        return {f"{n:04}-{image:04}": _picture(images[n]) for n, image in enumerate(tensors["identity"].tolist())}
    if not path.is_dir():
        raise FileError(f"{path}: there is no such folder of pictures, nor a cell of an evaluation")
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in KINDS)
    if not files:
        raise ImageError(f"{path}: no pictures in this folder ({', '.join(KINDS)})")
    return {file.name: open_picture(file).convert("RGB") for file in files}


def _picture(image: Tensor) -> Image.Image:
    """(C, H, W) in [-1, 1] as RGB."""
    levels = ((image.detach().cpu().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(levels.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy())


def _png(picture: Image.Image) -> bytes:
    """The pixels alone: what else a file says, such as its program or path, stays behind."""
    buffer = io.BytesIO()
    Image.frombytes("RGB", picture.size, picture.tobytes()).save(buffer, format="PNG")
    return buffer.getvalue()
