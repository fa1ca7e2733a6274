"""Rows of pictures, curves and intervals: what is asked for is drawn."""

from __future__ import annotations

import numpy as np

from tiramisu_edu.course.figures import figure_html
from tiramisu_edu.course.plots import image_grid, interval_curves, interval_rows


def test_a_grid_has_a_label_a_row_and_hatches_what_is_hidden():
    pictures, known = np.zeros((3, 4, 4)), np.ones((3, 4, 4), dtype=bool)
    known[:, 2:] = False
    figure = image_grid({"truth": pictures, "damaged": pictures}, ["a", "b", "c"], known={"damaged": known})
    axes = figure.axes
    assert [axes[0].get_ylabel(), axes[3].get_ylabel()] == ["truth", "damaged"]
    assert [ax.get_title() for ax in axes[:3]] == ["a", "b", "c"]
    assert [len(ax.patches) for ax in axes] == [0, 0, 0, 8, 8, 8]
    assert figure_html(figure, "two rows of three pictures").startswith("<img")


def test_curves_and_rows_show_their_intervals():
    points = [(0.5, 0.4, 0.7), (0.2, 0.2, 0.3)]
    figure = interval_curves([0, 1], {"plain": points, "steered": points}, xlabel="x", ylabel="y")
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["plain", "steered"]
    figure = interval_rows({"gain": (0.5, 0.4, 0.7, 3, 2, 1), "loss": (-0.1, -0.3, 0.1)}, xlabel="x", reference=0)
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["gain", "loss"]
    assert axes.lines[0].get_xdata().tolist() == [0.4, 0.7]
    assert [text.get_text() for text in axes.texts] == ["0.50", "-0.10"]
