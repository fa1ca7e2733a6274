"""A table ready to print: Markdown, LaTeX and HTML from one data frame of texts."""

from __future__ import annotations

import re
from typing import NamedTuple

import pandas as pd

from .evaluation.significance import NO_INTERVAL, NOTE

_BOLD = re.compile(r"\*\*(.+?)\*\*")


class Table(NamedTuple):
    """A title and what stands below it.

    Attributes:
        title: one line.
        frame: texts, one column per column of the table; the index is not printed. `**x**` is bold.
    """

    title: str
    frame: pd.DataFrame

    @property
    def note(self) -> str:
        """What a mark in the table means; empty where there is none."""
        return NOTE if any(NO_INTERVAL in str(text) for text in self.frame.to_numpy().flat) else ""

    def markdown(self) -> str:
        """The title in bold, then a pipe table, and the note."""
        lines = [self.frame.columns, ["---"] * self.frame.shape[1], *self.frame.to_numpy()]
        text = f"**{self.title}**\n\n" + "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
        return text + (f"\n{self.note}\n" if self.note else "")

    def latex(self) -> str:
        """A booktabs table, the title as a comment above it and the note as one below."""
        columns = "l" + "r" * (self.frame.shape[1] - 1)
        body = self.frame.to_latex(index=False, escape=True, column_format=columns)
        note = "% " + self.note.replace("%", "\\%") + "\n" if self.note else ""
        return f"% {self.title}\n" + _BOLD.sub(r"\\textbf{\1}", body) + note

    def html(self) -> str:
        """A `<table>` without the title, and the note."""
        with pd.option_context("display.max_colwidth", None):  # pandas shortens texts of more than 50 letters
            table = _BOLD.sub(r"<b>\1</b>", self.frame.to_html(index=False, border=0))
        return table + (f"<p>{self.note}</p>" if self.note else "")
