"""The benchmark: it runs, it compares like with like, its arithmetic is right."""

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import card
from benchmarks.limits import EM, MARGINALS, Growth, Row, Setup, Timing, alternate, binary_tree, rows_table
from tiramisu_edu.lab.cli import main


def test_calls_are_timed_in_turns():
    calls = []
    found = alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, budget=0.0)
    assert calls[:2] == ["a", "b"] and calls[2:] == ["a", "b"] * 3
    assert all(0 <= t.minimum <= t.median for t in found.values())


def test_slopes_and_verdicts():
    assert Growth("B", [1, 2, 4, 8], [3, 12, 48, 192]).exponent == pytest.approx(2.0)
    assert Growth("K", [2, 4, 8], [4.0, 16.0, 64.0]).exponent == pytest.approx(1.0)
    limit = Row("tree", 64, EM, "raw bmm", Timing(3e-3, 4e-3), Timing(2e-3, 2e-3), 1.4)
    peer = Row("tree", 64, EM, "other 1.0", Timing(3e-3, 4e-3), Timing(60e-3, 61e-3), 10.0, (2e-5, 711.4))
    assert limit.ratio == pytest.approx(1.5) and not limit.meets_goal
    assert peer.ratio == pytest.approx(20.0) and peer.meets_goal
    table = rows_table("", [limit, peer]).markdown()
    assert "| 1.50 | ≤ 1.4 | short |" in table and "| 20.00 | ≥ 10 | met | 2e-05 | 711.4 |" in table
    assert "| short |  |  |" in table and "off by" not in rows_table("", [limit]).markdown()


def test_the_raw_products_are_those_of_the_query():
    """Multiply-adds of the recorded bmm calls against the circuit's own edges: 3 per edge for EM, 2 for marginals."""
    graph = binary_tree(15, num_categories=7, num_latents=5)
    setup = Setup.make(graph, 4, torch.device("cpu"))
    inputs = 15 * 5 * 7
    for query, passes, edges in ((EM, 3, graph.num_sum_edges), (MARGINALS, 2, graph.num_sum_edges + inputs)):
        run = setup.raw_products(query)
        with FlopCounterMode(display=False) as counter:
            run()
        assert counter.get_total_flops() == 2 * passes * edges * 4


def test_the_command_writes_tables(tmp_path, capsys):
    assert main(["bench", "circuits", "--quick", "--threads", "1", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "raw bmm" in printed and "log-log slope" in printed
    report = json.loads((tmp_path / "circuits.json").read_text())
    assert len(report["rows"]) == 8 and {g["what"] for g in report["growth"]} == {"D", "C", "K", "B"}
    assert all(row["ratio"] > 0 for row in report["rows"])
    assert (tmp_path / "circuits.md").read_text().count("| tree |") == 4


def test_outside_a_checkout_nothing_is_timed(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["bench", "circuits", "--quick"]) == 2
    assert "bench needs a checkout" in capsys.readouterr().err


def test_steps_are_timed_in_processes_of_their_own(tmp_path):
    assert main(["bench", "em", "--quick", "--out", str(tmp_path)]) == 0
    text = (tmp_path / "em.md").read_text()
    rows = [line.split("|") for line in text.splitlines() if "tiramisu-edu" in line]
    assert [row[2].strip() for row in rows] == ["E-step of 64", "mini-batch EM, 64", "full-batch epoch"]
    for row in rows:
        assert float(row[3]) > 0 and float(row[4]) >= 0 and float(row[5]) > 0
        assert f"float64 {row[6].strip()}" in text  # the truth, in the title


def test_what_is_prepared_for_a_card_runs_without_one(tmp_path):
    assert card.main(["--device", "cpu", "--quick", "--out", str(tmp_path / "card.md")]) == 0
    text = (tmp_path / "card.md").read_text()
    assert text.count("| exact |") == text.count("| same |") == 5 and "WRONG" not in text
    for query in ("marginals", "log-likelihood", "expected counts", "mini-batch EM", "a joint sample each"):
        assert f"| {query} | 64 |" in text
