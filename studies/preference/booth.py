"""Voting in a notebook: two pictures, three buttons, and how far one has come."""

from __future__ import annotations

import base64
import html
from pathlib import Path
from typing import Any

import ipywidgets

from .study import Study
from .votes import Ballot

CSS_PIXELS = 240  # width of a picture on the page


class VotingBooth(ipywidgets.VBox):
    """The question, two pictures without names, and the buttons Left, No difference, Right.

    The buttons are ordinary ones: Tab moves between them, Space or Enter presses, and the one pressed keeps the
    focus. Leave the booth on the last line of a cell; it goes on where the file stops.

    Args:
        study: its pictures.
        voter: the name, which decides order and sides.
        path: the voter's file, see `Ballot`.

    Attributes:
        ballot: what is recorded.
        left, tie, right: the buttons; `left.click()` presses one from code, as does `vote("left")`.
        pictures: the `HTML` widget with the two images.
        status: the sentence below them.
    """

    def __init__(self, study: Study, voter: str, path: str | Path) -> None:
        self.study, self.ballot = study, Ballot(study.key, voter, path)
        self.status = ""
        self.pictures = ipywidgets.HTML()
        texts = {"left": "Left", "tie": "No difference", "right": "Right"}
        self.left, self.tie, self.right = buttons = [ipywidgets.Button(description=text) for text in texts.values()]
        super().__init__([self.pictures, ipywidgets.HBox(buttons)])
        for button, choice in zip(buttons, texts):
            button.on_click(lambda _, choice=choice: self.vote(choice))
        self._show()

    def vote(self, choice: str) -> str:
        """Vote left, tie or right as a click does; the sentence then shown."""
        self.ballot.vote(choice)
        self._show()
        return self.status

    def _show(self) -> None:
        pair, number, total = self.ballot.next, self.ballot.done + 1, len(self.ballot.plan)
        if pair is None:
            self.status = f"All {total} pairs are voted on. Thank you!"
            images = question = ""
        else:
            self.status = f"Pair {number} of {total}"
            question = f"<p><b>{html.escape(self.study.key.question)}</b></p>"
            sides = [("left", pair.left), ("right", pair.right)]
            images = "".join(self._image(code, f"{side} picture of pair {number}") for side, code in sides)
        for button in (self.left, self.tie, self.right):
            button.disabled = pair is None
        # A screen reader speaks the status whenever it changes.
        status = f'<p role="status" aria-live="polite">{self.status}</p>'
        self.pictures.value = f'{question}<div style="display:flex;gap:1em">{images}</div>{status}'

    def _image(self, code: str, alt: str) -> str:
        data = base64.b64encode(self.study.pictures[code]).decode("ascii")
        style = f"width:{CSS_PIXELS}px;max-width:45%;image-rendering:pixelated"
        return f'<img alt="{alt}" style="{style}" src="data:image/png;base64,{data}">'

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """What pages without widgets show instead: where to look."""
        bundle = super()._repr_mimebundle_(**options)
        bundle["text/plain"] = f"Voting booth, {len(self.ballot.plan)} pairs: run the notebook to vote."
        return bundle
