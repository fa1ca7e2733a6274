"""The crossover in a small run, the circuit's fitted weight, and the tables made again."""

from functools import partial

import pandas as pd
import pytest

from studies import crossover, rules, strength, tables


def test_the_crossover(tmp_path, capsys, monkeypatch):
    quick = partial(crossover.measure_crossover, images=4, levels=3, masks=("left",))
    monkeypatch.setattr(crossover, "measure_crossover", quick)
    crossover.main(["--worlds", "digits", "--out", str(tmp_path)])
    assert len(capsys.readouterr().out.splitlines()) == 2 + 3 + 1
    assert (tmp_path / "crossover.png").stat().st_size > 5_000


def test_rules_broken(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(rules, "rules_broken", partial(rules.rules_broken, count=8, steps=2))
    rules.main(["--worlds", "faces", "--out", str(tmp_path / "rules.md")])
    assert "| weak denoiser | " in (tmp_path / "rules.md").read_text()
    with pytest.raises(SystemExit, match="digits has no rules"):
        rules.main(["--worlds", "digits"])


def test_the_weight_of_the_circuit(tmp_path, capsys):
    strength.main(["--worlds", "digits,faces", "--out", str(tmp_path / "strength.png")])
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("faces")]
    assert lines[0] == ["faces", "1.000", "1.000"] and len(lines) == 24  # in pure noise, as derived
    assert (tmp_path / "strength.png").stat().st_size > 5_000
    with pytest.raises(SystemExit, match="unknown world 'mars'"):
        strength.main(["--worlds", "mars"])


def test_the_shipped_table_is_made_again_from_the_shipped_numbers(tmp_path, capsys):
    """Rows of docs/results/evaluation/table_faces.md, from the columns that need no cost."""
    file = "docs/results/evaluation/table_faces.csv.gz"
    kept = pd.read_csv(file)
    kept[kept["method"].str.startswith("replacement")].to_csv(tmp_path / "a.csv")
    tables.main([str(tmp_path / "a.csv")])
    found = capsys.readouterr().out
    assert "| replacement | 0.430 | 1.120 | 3.418 | 3.246 | 3.736 | 3.665 | 0.400 | 2.288 | 0.218 |" in found
    assert "| faces | replacement+difference | 12 | 0.218 | 0.190 | -0.0276 [-0.031" in found
    with pytest.raises(SystemExit):
        tables.main(["--measure", "magic"])
