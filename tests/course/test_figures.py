"""Figures carry alt text, sliders show what they say."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tiramisu_edu.course import figures
from tiramisu_edu.course.scale import scale
from tiramisu_edu.course.widgets import filmstrip, slider_picture
from tiramisu_edu.errors import TiramisuError


def test_alt_text_is_required_and_escaped():
    figure, _ = figures.new_figure(1, 1)
    with pytest.raises(TiramisuError, match="alt text"):
        figures.figure_html(figure, " ")
    assert 'alt="p(x) &lt; &quot;1&quot;"' in figures.figure_html(figure, 'p(x) < "1"')


def test_show_emits_one_html_image(capsys):
    figure, _ = figures.new_figure(1, 1)
    figures.show(figure, "empty axes")
    assert "HTML" in capsys.readouterr().out


def test_the_same_figure_gives_the_same_bytes():
    def once():
        return figures.figure_html(figures.bars(["a", "b"], {"one": [0.1, 0.9], "two": [0.2, 0.8]}), "bars")

    assert once() == once()


@pytest.mark.parametrize(
    ("shape", "pixels"), [((4, 4), (4, 4)), ((1, 4, 4), (4, 4)), ((3, 4, 4), (4, 4, 3)), ((4, 4, 3), (4, 4, 3))]
)
def test_images_of_every_layout(shape, pixels):
    known = np.zeros((4, 4), dtype=bool)
    figure = figures.image_strip([np.zeros(shape)], ["title"], known=[known], value_range=(-1, 1))
    shown = figure.axes[0].images[0].get_array()
    assert shown.shape == pixels
    np.testing.assert_allclose(shown, 0.5)
    (hidden,) = figure.axes[0].patches  # one patch of a square for each hidden pixel
    assert len(hidden.get_path()) == 5 * 16


def test_heat_maps_write_their_numbers():
    figure = figures.heat_maps([np.eye(2), np.ones((9, 9))], ["small", "large"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["1.00", "0.00", "0.00", "1.00"]
    assert not figure.axes[1].texts


def test_a_grid_has_a_label_a_row_and_hatches_what_is_hidden():
    pictures, known = np.zeros((3, 4, 4)), np.ones((3, 4, 4), dtype=bool)
    known[:, 2:] = False
    figure = figures.image_grid({"truth": pictures, "damaged": pictures}, ["a", "b", "c"], known={"damaged": known})
    axes = figure.axes
    assert [axes[0].get_ylabel(), axes[3].get_ylabel()] == ["truth", "damaged"]
    assert [ax.get_title() for ax in axes[:3]] == ["a", "b", "c"]
    assert [sum(len(patch.get_path()) for patch in ax.patches) for ax in axes] == [0] * 3 + [5 * 8] * 3
    assert figures.figure_html(figure, "two rows of three pictures").startswith("<img")


def test_curves_and_rows_show_their_intervals():
    points = [(0.5, 0.4, 0.7), (0.2, 0.2, 0.3)]
    figure = figures.interval_curves([0, 1], {"plain": points, "steered": points}, xlabel="x", ylabel="y")
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["plain", "steered"]
    figure = figures.interval_rows(
        {"gain": (0.5, 0.4, 0.7, 3, 2, 1), "loss": (-0.1, -0.3, 0.1)}, xlabel="x", reference=0
    )
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["gain", "loss"]
    assert axes.lines[0].get_xdata().tolist() == [0.4, 0.7]
    assert [text.get_text() for text in axes.texts] == ["0.50", "-0.10"]


def render(value):
    figure, axes = figures.new_figure(1, 1)
    axes.plot([0, value])
    return figure, f"a line that rises to {value}", f"It rises to {value} < 9."


def test_a_slider_moves_its_picture_and_sentence():
    widget = slider_picture([1, 2, 3], render, "height", start=2)
    assert widget.sentence == "It rises to 2 < 9."
    before = widget.picture.value
    assert widget.move_to(3) == "It rises to 3 < 9."
    assert 'alt="a line that rises to 3"' in widget.picture.value
    assert "It rises to 3 &lt; 9." in widget.picture.value
    assert widget.picture.value != before
    bundle = widget._repr_mimebundle_()
    assert bundle["text/plain"] == "Slider “height”: run the notebook to move it."
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_a_slider_carries_its_frames_and_shows_the_one_it_starts_with():
    def widget():
        return slider_picture([0.5, "a < b", 3], position, "θ < 1", "a < b")

    def position(value):
        return figures.new_figure(1, 1)[0], f"a line at height {value}", f"{value}."

    page = widget()._repr_mimebundle_()["text/html"]
    frames = re.findall(r'<figure data-value="([^"]+)"( hidden)?><img alt="([^"]+)".*?<figcaption>([^<]+)<', page)
    assert frames == [
        (label, hidden, f"a line at height {label}", f"{label}.")
        for label, hidden in (("0.5", " hidden"), ("a &lt; b", ""), ("3", " hidden"))
    ]
    assert 'max="2" value="1" aria-valuetext="a &lt; b"' in page and "θ &lt; 1" in page
    again = widget()
    assert page == again._repr_mimebundle_()["text/html"]
    again.move_to(3)
    assert len(again.frames) == 3 and 'alt="a line at height 3"' in again.picture.value


def test_a_filmstrip_has_one_figure_with_alt_text_per_position(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda html: shown.append(html.data))
    filmstrip([1, 2, 3], render)
    assert re.findall(r'<img alt="([^"]+)"', shown[0]) == [f"a line that rises to {k}" for k in (1, 2, 3)]


def test_scales_inherit_from_the_smaller_ones(monkeypatch):
    settings = {"toy": {"draws": 1, "seeds": 2}, "gpu": {"draws": 3}}
    monkeypatch.delenv("TIRAMISU_SCALE", raising=False)
    assert scale(**settings).draws == 1
    monkeypatch.setenv("TIRAMISU_SCALE", "paper")
    assert vars(scale(**settings)) == {"scale": "paper", "draws": 3, "seeds": 2}
    monkeypatch.setenv("TIRAMISU_SCALE", "huge")
    with pytest.raises(TiramisuError, match="huge"):
        scale(**settings)
