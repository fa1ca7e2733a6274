"""The files that the moving pictures start from are those that the command writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from studies import moving
from tiramisu_edu.lab.zoo import load

FOLDER = Path(__file__).parents[2] / "docs/static/moving"


def test_the_stored_data_are_those_of_the_command():
    text = (FOLDER / "data.js").read_text(encoding="utf-8")
    stored = json.loads(text.removeprefix("Moving.data = ").removesuffix(";\n"))
    fresh = json.loads(json.dumps(moving.page_data(None)))
    assert {name: stored[name] for name in fresh} == fresh
    for film, mask in zip(stored["film"], moving.MASKS):
        assert film["file"] == f"film_{mask}.webp" and len(film["signal"]) == len(film["alpha"]) == moving.STEPS
        with Image.open(FOLDER / film["file"]) as picture:
            assert picture.size == (32 * (moving.STEPS + 2), 32 * len(moving.ROWS))
    assert all(np.isclose(sum(stored["pixel"][name]), 1, atol=1e-4) for name in ("dm", "pc"))


def test_a_film_has_a_column_per_step(tmp_path, monkeypatch):
    monkeypatch.setattr(moving, "STEPS", 2)
    film = moving.film(load("faces"), "left", tmp_path)
    assert [len(film[name]) for name in ("signal", "alpha")] == [2, 2] and film["error"]["denoiser"][0] > 0
    with Image.open(tmp_path / film["file"]) as picture:
        assert picture.size == (32 * 4, 32 * len(moving.ROWS))


def test_the_command_writes_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(moving, "page_data", lambda folder: {"colours": {}})
    moving.main(["--out", str(tmp_path)])
    assert capsys.readouterr().out == f"{tmp_path / 'data.js'}: 0.0 kB\n"
    assert (tmp_path / "data.js").read_text() == 'Moving.data = {"colours":{}};\n'
