"""One slider, one picture, one sentence: the interactive pattern of the course.

A slider's callback sets the value of an `ipywidgets.HTML`. Nothing is captured from the output of a
cell, so the notebook runs the same in JupyterLab, under nbclient and under nbval, and the next cell can
move the slider from code and assert on what it shows.

The output of the cell carries every frame, and a native slider that moves them where there is no kernel.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
from matplotlib.figure import Figure

from .figures import CSS_PIXELS, figure_html

MOVE = (  # of a page without a kernel: show the frame whose number the slider has
    "const f=this.closest('div').querySelectorAll('figure');f.forEach((e,k)=>{e.hidden=k!=this.value});"
    "const v=f[this.value].dataset.value;this.nextElementSibling.value=v;this.setAttribute('aria-valuetext',v)"
)
Render = Callable[[Any], "tuple[Figure, str, str]"]
"""From a value of the slider to (figure, alt text, one sentence with the numbers)."""


class SliderPicture(ipywidgets.VBox):
    """A slider above the picture of its value; made by `slider_picture`.

    Attributes:
        slider: the `SelectionSlider`; set `slider.value` to one of the values, or call `move_to`.
        picture: the `HTML` widget that holds the image and the sentence.
        sentence: the sentence shown now.
    """

    def __init__(self, values: Sequence[Any], render: Render, description: str, start: Any) -> None:
        self.render = render
        self.frames: dict[Any, tuple[str, str]] = {}  # value -> its picture and sentence, each drawn once
        self.sentence = ""
        self.picture = ipywidgets.HTML()
        self.slider = ipywidgets.SelectionSlider(
            options=[(f"{value:g}" if isinstance(value, float) else str(value), value) for value in values],
            value=start,
            description=description,
            continuous_update=False,
            style={"description_width": "initial"},
            layout={"width": "28em"},
        )
        super().__init__([self.slider, self.picture])
        self.slider.observe(self._update, names="value")
        self._update()

    def move_to(self, value: Any) -> str:
        """Move the slider as a reader would; the sentence then shown."""
        self.slider.value = value
        return self.sentence

    def _update(self, _change: object = None) -> None:
        picture, self.sentence = self._frame(self.slider.value)
        self.picture.value = f"{picture}<p>{html.escape(self.sentence)}</p>"

    def _frame(self, value: Any) -> tuple[str, str]:
        if value not in self.frames:
            figure, alt, sentence = self.render(value)
            self.frames[value] = figure_html(figure, alt, small=True), sentence
        return self.frames[value]

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """What pages without widgets show instead: all frames, of which a native slider shows one."""
        name, (labels, values) = html.escape(self.slider.description), zip(*self.slider.options)
        start = values.index(self.slider.value)
        frames = []
        for k, (label, value) in enumerate(zip(labels, values)):
            picture, sentence = self._frame(value)
            opening = f'<figure data-value="{html.escape(label)}"{"" if k == start else " hidden"}>'
            frames.append(f"{opening}{picture}<figcaption>{html.escape(sentence)}</figcaption></figure>")
        now, handle = html.escape(labels[start]), f'type="range" max="{len(values) - 1}" value="{start}"'
        slider = f'<input {handle} aria-valuetext="{now}" autocomplete="off" oninput="{MOVE}">'
        slider = f"<label>{name} {slider} <output>{now}</output></label>"
        page = f'<div class="slider-picture">{slider}{"".join(frames)}</div>'
        text = f"Slider “{self.slider.description}”: run the notebook to move it."
        return super()._repr_mimebundle_(**options) | {"text/plain": text, "text/html": page}


def slider_picture(values: Sequence[Any], render: Render, description: str, start: Any = None) -> SliderPicture:
    """A slider over `values` and the picture of the one it stands on.

    Args:
        values: the positions; floats, integers or strings.
        render: value -> (figure, alt text, sentence).
        description: label of the slider.
        start: the first position, the first value when None.

    Returns:
        The widget; leave it on the last line of a cell to show it.
    """
    return SliderPicture(values, render, description, values[0] if start is None else start)


def filmstrip(values: Sequence[Any], render: Render) -> None:
    """Three to five positions of a slider side by side, for the page and for print."""
    from IPython.display import HTML, display

    frames = []
    for value in values:
        figure, alt, sentence = render(value)
        caption = f"<figcaption>{html.escape(sentence)}</figcaption>"
        basis = f"flex:0 1 {round(figure.get_figwidth() * CSS_PIXELS)}px"  # rather a new line than smaller writing
        frames.append(f'<figure style="margin:0;{basis}">{figure_html(figure, alt, small=True)}{caption}</figure>')
    display(HTML(f'<div style="display:flex;flex-wrap:wrap;gap:1em">{"".join(frames)}</div>'))
