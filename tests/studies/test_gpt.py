"""Transformers over codes and the study that compares them with circuits: what is summed, hidden and taken up again."""

from dataclasses import replace

import pytest
import torch

from studies import gpt, paper_memory
from studies.gpt import QUICK, main
from studies.masked_teacher import Beliefs
from studies.transformers import CodeTransformer, TransformerSettings, random_gaps, train_transformer
from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.pyjuice import load_pyjuice
from tiramisu_edu.errors import TiramisuError

SMALL = replace(QUICK.gpt, dropout=0.0)


def network(causal=True, num_codes=3, places=4):
    torch.manual_seed(0)
    made = CodeTransformer(num_codes, places, replace(SMALL, causal=causal))
    for weight in made.parameters():  # far from even, so that mistakes show
        weight.data += torch.randn_like(weight) / 3
    return made.eval()


def test_a_gpt_is_a_distribution_over_sequences():
    sequences = torch.cartesian_prod(*[torch.arange(3)] * 4)
    with torch.no_grad():
        log_p = -network().nats(sequences).double().sum(1)
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-5)
    assert log_p.exp().max() > 3 / 81


def test_no_code_is_read_before_its_turn_and_no_hidden_one_at_all():
    codes = torch.tensor([[0, 1, 2, 1]])
    other = codes.clone()
    other[0, 2] = 0
    with torch.no_grad():
        before, after = (network().nats(rows)[0] for rows in (codes, other))
        assert torch.equal(before[:2], after[:2]) and not torch.isclose(before[3], after[3])
        hidden = torch.tensor([[False, False, True, True]])
        before, after = (network(causal=False).nats(rows, hidden)[0] for rows in (codes, other))
    assert before[3] == after[3] and before[2] != after[2]


def test_gaps_are_rectangles_within_the_picture():
    gaps = random_gaps(torch.zeros(500, 64), torch.Generator().manual_seed(0)).view(-1, 8, 8)
    rows, columns = gaps.any(2), gaps.any(1)
    assert torch.equal(gaps, rows[:, :, None] & columns[:, None, :])
    assert set(rows.sum(1).tolist()) == set(columns.sum(1).tolist()) == {1, 2, 4, 8}
    assert rows.any(0).all() and columns.any(0).all()


def test_training_learns_and_goes_on_where_it_was(tmp_path):
    """Two codes that are always equal: half a bit each. A run taken up from its checkpoint ends in the same weights."""
    codes = torch.randint(2, (256, 1), generator=torch.Generator().manual_seed(0)).expand(-1, 4).contiguous()
    settings = TransformerSettings(width=16, depth=1, heads=2, epochs=4, warmup=5, rate=1e-2)
    whole, looks = train_transformer(codes, codes, 2, settings)
    assert looks.steps == [4 * epoch for epoch in range(1, 5)]
    assert float(whole.bits(codes).mean()) == pytest.approx(min(looks.bits))
    assert 0.25 <= min(looks.bits) < 0.3  # the truth: 1 bit in 4 codes
    train_transformer(codes, codes, 2, settings, tmp_path / "run")
    again, looks = train_transformer(codes, codes, 2, settings, tmp_path / "run")
    assert all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), whole.state_dict().values()))
    with pytest.raises(TiramisuError, match="no pass over the pictures ended within 0 minutes"):
        train_transformer(codes, codes, 2, settings, minutes=0)


def test_beliefs_are_those_given_all_around_a_region():
    """Codes of the region itself do not touch its features; those beside it do; the root's come from all."""
    circuit = Circuit(structures.quad_tree(4, 4, num_categories=3, num_latents=2))
    seen = torch.randint(3, (60, 16), generator=torch.Generator().manual_seed(0))
    changed = seen.clone()
    changed[:, 0] = (changed[:, 0] + 1) % 3
    first, second = (Beliefs(circuit, codes, network(causal=False, places=16)) for codes in (seen, changed))
    moved = {first.variables[r]: not torch.allclose(abs(first[r]), abs(second[r]), atol=1e-2) for r in list(first)}
    assert not moved[0, 1, 4, 5] and moved[2, 3, 6, 7] and moved[tuple(range(16))]


def test_the_study_writes_a_table_and_keeps_what_is_done(tmp_path, capsys, monkeypatch):
    flags = ["--quick", "--out", str(tmp_path), "--checkpoints", str(tmp_path / "kept")]
    main(flags)
    table = (tmp_path / "faces.md").read_text(encoding="utf-8")
    assert table.strip() in capsys.readouterr().out and "| poon domingos | 2 | random |" in table
    assert (tmp_path / "faces.png").stat().st_size > 5_000
    monkeypatch.setattr(gpt, "train_transformer", None)
    monkeypatch.setattr(gpt, "train_from", None)
    main([*flags, "--circuits", "quad_tree:4:transformer"])
    again = (tmp_path / "faces.md").read_text(encoding="utf-8").splitlines()
    assert len(again) == 8 and set(again) <= set(table.splitlines())


def test_parts_of_the_papers_size_are_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(paper_memory, "SIDE", 2)
    paper_memory.sparse_file(3, tmp_path / "c.jpc")
    circuit = load_pyjuice(tmp_path / "c.jpc")
    assert circuit.num_variables == 4 and circuit.region_table(len(circuit.graph.regions) - 1).shape[1] in range(40, 65)
    needs_more = {"huge": (paper_memory.circuit, 1, 1e18)}
    monkeypatch.setattr(paper_memory, "PARTS", needs_more)
    assert "left out" in paper_memory.measured("huge")["processor seconds"]
