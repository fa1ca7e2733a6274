"""Predict, then run: a question with choices that keeps the guess, and tells what happened after the experiment.

In Jupyter the guess is a row of radio buttons, and `reveal` compares it with what was found, whichever comes first. A
page without a kernel shows radio buttons, and the answer folded; the site's script (docs/static/predictions.js) keeps
the guess there and counts too.

    where = predict("Where is the curve lowest?", ["no step is guided", "a fifth", "all"])
    where.reveal("a fifth", "The distance falls until a fifth of the steps is guided.")
    predicted()
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import ipywidgets

from ..errors import TiramisuError

ASKED: dict[str, Prediction] = {}  # the questions of this session, each once


class Told(ipywidgets.HTML):
    """A text that changes in a running notebook, and what a page without a kernel shows in its place."""

    def __init__(self, static: str) -> None:
        super().__init__()
        self.static = static

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**options)
        return bundle | {"text/plain": "Run the notebook to compare your guess.", "text/html": self.static}


class Prediction(ipywidgets.VBox):
    """A question asked before an experiment; made by `predict`.

    Attributes:
        guess: the choice that was made, None before.
        right: whether it is what was found; None before the guess or the experiment.
    """

    def __init__(self, question: str, choices: Sequence[str]) -> None:
        self.question, self.choices = question, list(choices)
        self.answer, self.found = "", ""
        self.told: list[Told] = []
        self.buttons = ipywidgets.RadioButtons(options=self.choices, index=None, layout={"width": "max-content"})
        self.buttons.observe(self._update, names="value")
        super().__init__([ipywidgets.HTML(f"<b>Predict.</b> {html.escape(question)}"), self.buttons])
        ASKED[question] = self

    @property
    def guess(self) -> str | None:
        return self.buttons.value

    @property
    def right(self) -> bool | None:
        return self.guess == self.answer if self.guess and self.answer else None

    def reveal(self, answer: str, why: str) -> None:
        """Tell what was found, beside the guess.

        Args:
            answer: the choice that came true, computed by the experiment.
            why: one sentence with the numbers.
        """
        from IPython.display import display

        if answer not in self.choices:
            raise TiramisuError(f"'{answer}' is none of the choices of '{self.question}': {', '.join(self.choices)}")
        self.answer, self.found = answer, f"<b>{html.escape(answer)}.</b> {html.escape(why)}"
        named = f'{self._named("prediction-found")} data-answer="{html.escape(answer)}"'
        summary = f"<summary>{html.escape(self.question)} What happened</summary>"
        told = Told(f"<details {named}>{summary}<div>{self.found}</div></details>")
        self.told.append(told)
        self._update()
        display(told)

    def _update(self, _change: object = None) -> None:
        guess = f"You guessed: {html.escape(self.guess)}. Found: {self.found}" if self.guess else ""
        for told in self.told:
            told.value = guess or "Make your guess above, then look here."
        for told in TALLIES:
            told.value = _tally()

    def _named(self, kind: str) -> str:
        """The attributes by which a page finds what belongs to one question."""
        return f'class="{kind}" data-question="{html.escape(self.question)}"'

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """What pages without widgets show instead: radio buttons."""
        name = f'type="radio" name="predict{list(ASKED).index(self.question)}"'
        labels = "".join(
            f'<label style="display:block"><input {name} value="{choice}"> {choice}</label>'
            for choice in map(html.escape, self.choices)
        )
        legend = f"<legend><b>Predict.</b> {html.escape(self.question)}</legend>"
        page = f"<fieldset {self._named('prediction')}>{legend}{labels}</fieldset>"
        text = f"Predict. {self.question} ({' / '.join(self.choices)})"
        return super()._repr_mimebundle_(**options) | {"text/plain": text, "text/html": page}


TALLIES: list[Told] = []


def predict(question: str, choices: Sequence[str]) -> Prediction:
    """A question with two to five choices; leave it on the last line of a cell to show it."""
    return Prediction(question, choices)


def predicted() -> None:
    """Show how many of the predictions came true, now and after every further guess."""
    from IPython.display import display

    static = f"{len(ASKED)} predictions; a running notebook counts how many of yours came true."
    TALLIES.append(Told(f'<p class="predicted">{static}</p>'))
    TALLIES[-1].value = _tally()
    display(TALLIES[-1])


def _tally() -> str:
    made = [prediction.right for prediction in ASKED.values() if prediction.right is not None]
    return f"<b>{sum(made)} of {len(ASKED)} predicted</b>, {len(made)} guessed"
