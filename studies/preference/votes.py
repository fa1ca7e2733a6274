"""One voter's file: a CSV row per vote, in codes. It holds all there is to remember, so a kill loses nothing."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tiramisu_edu.errors import FileError, TiramisuError
from tiramisu_edu.files import atomic_path

from .study import Key, Pair

HEADER = ["study", "voter", "number", "left", "right", "vote"]
CHOICES = {"left": 1, "tie": 0, "right": -1}  # vote -> score of the picture on the left


class Votes(NamedTuple):
    """What one voter said, decoded."""

    voter: str
    pairs: tuple[str, ...]
    """Name of each pair, in the order in which the voter saw them."""
    choices: tuple[str, ...]
    """left, tie or right."""
    scores: tuple[int, ...]
    """1 where A's picture was chosen, -1 where B's was, 0 for a tie."""


class Ballot:
    """One voter at the urn. A file that exists is gone on with.

    Args:
        key: of the study.
        voter: the name, which also decides order and sides.
        path: the voter's own CSV file; written whole and in one step at each vote.

    Raises:
        TiramisuError: a name that is none.
        FileError: the file is damaged, or of another study or voter.
    """

    def __init__(self, key: Key, voter: str, path: str | Path) -> None:
        self.key, self.voter, self.path = key, voter, Path(path)
        self.plan = key.plan(voter)
        self.done = len(self._choices())

    @property
    def next(self) -> Pair | None:
        """The pair to be shown now; None when all are voted on."""
        return self.plan[self.done] if self.done < len(self.plan) else None

    def vote(self, choice: str) -> None:
        """Record left, tie or right for the pair shown now.

        Raises:
            TiramisuError: another word, or nothing left to vote on.
            FileError: the file holds other votes than this ballot: somebody else has written to it.
        """
        if choice not in CHOICES:
            raise TiramisuError(f"a vote is one of {', '.join(CHOICES)}, not {choice!r}")
        choices = self._choices()
        if len(choices) != self.done:
            raise FileError(f"{self.path} was written to by another window: close one of them and start this one again")
        if self.done == len(self.plan):
            raise TiramisuError(f"{self.voter} has voted on all {self.done} pairs")
        with atomic_path(self.path) as unfinished, open(unfinished, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(HEADER)
            writer.writerows(_rows(self.key, self.voter, self.plan, [*choices, choice]))
        self.done += 1

    def _choices(self) -> Sequence[str]:
        if not self.path.exists():
            return ()
        found = read_votes(self.path, self.key)
        if found.voter != self.voter:
            raise FileError(f"{self.path} holds the votes of {found.voter!r}, not of {self.voter!r}: use another file")
        return found.choices


def read_votes(path: str | Path, key: Key) -> Votes:
    """Read and decode a voter's file, made by `Ballot` or by the page. A voter may have stopped early.

    Raises:
        FileError: missing, damaged, or of another study.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            header, *rows = list(csv.reader(file, strict=True)) or [[]]
    except OSError as error:
        raise FileError(f"cannot read the votes in {path}: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise FileError(f"{path} is no file of votes ({error}): ask for it as it was downloaded") from error
    if header != HEADER or not rows:
        raise FileError(
            f"{path} is no file of votes: its first line must be {','.join(HEADER)}, and a vote must follow"
        )
    study, voter = (rows[0] + ["", ""])[:2]
    if study != key.study:
        raise FileError(f"{path} belongs to another study ({study!r}) than the key ({key.study!r})")
    try:
        plan = key.plan(voter)
    except TiramisuError as error:
        raise FileError(f"{path}, line 2 is damaged: {error}") from error
    choices = [row[-1] if row else "" for row in rows]
    for line, (row, expected) in enumerate(zip(rows, _rows(key, voter, plan, choices)), start=2):
        if row != expected or row[-1] not in CHOICES:
            raise FileError(f"{path}, line {line} is damaged: {','.join(row)!r}; ask for the file as it was downloaded")
    if len(rows) > len(plan):
        raise FileError(f"{path} has {len(rows)} votes on {len(plan)} pairs: ask for the file as it was downloaded")
    scores = tuple(CHOICES[c] * (1 if pair.a_left else -1) for pair, c in zip(plan, choices))
    return Votes(voter, tuple(pair.name for pair in plan[: len(choices)]), tuple(choices), scores)


def _rows(key: Key, voter: str, plan: Sequence[Pair], choices: Sequence[str]) -> list[list[str]]:
    """The rows of a file with these choices."""
    voted = enumerate(zip(plan, choices), start=1)
    return [[key.study, voter, str(number), pair.left, pair.right, choice] for number, (pair, choice) in voted]
