"""A table ready to print: Markdown, LaTeX and HTML from one data frame of texts."""

from __future__ import annotations

import re
from typing import NamedTuple

import pandas as pd

_BOLD = re.compile(r"\*\*(.+?)\*\*")


class Table(NamedTuple):
    """A title and what stands below it.

    Attributes:
        title: one line.
        frame: texts, one column per column of the table; the index is not printed. `**x**` is bold.
    """

    title: str
    frame: pd.DataFrame

    def markdown(self) -> str:
        """The title in bold, then a pipe table."""
        lines = [self.frame.columns, ["---"] * self.frame.shape[1], *self.frame.to_numpy()]
        return f"**{self.title}**\n\n" + "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)

    def latex(self) -> str:
        """A booktabs table, the title as a comment above it."""
        columns = "l" + "r" * (self.frame.shape[1] - 1)
        body = self.frame.to_latex(index=False, escape=True, column_format=columns)
        return f"% {self.title}\n" + _BOLD.sub(r"\\textbf{\1}", body)

    def html(self) -> str:
        """A `<table>` without the title."""
        with pd.option_context("display.max_colwidth", None):  # pandas shortens texts of more than 50 letters
            return _BOLD.sub(r"<b>\1</b>", self.frame.to_html(index=False, border=0))
