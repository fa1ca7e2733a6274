"""The factor model against enumeration of its whole joint."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tiramisu_edu.errors import EvidenceError
from tiramisu_edu.lab.worlds.factors import Factor, FactorModel, factors


@st.composite
def models(draw, max_factors=5, max_values=3):
    """A random network; about a third of the entries of a table are zero."""
    rng = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    found: list[Factor] = []
    for f in range(draw(st.integers(1, max_factors))):
        parents = draw(st.lists(st.sampled_from(found), max_size=3, unique_by=lambda p: p.name)) if found else []
        shape = [len(p.values) for p in parents] + [draw(st.integers(1, max_values))]
        table = torch.rand(shape, dtype=torch.float64, generator=rng) + 0.01
        keep = torch.rand(shape, generator=rng) > 0.35
        keep[..., 0] |= ~keep.any(-1)
        table = table * keep
        values = tuple(map(str, range(shape[-1])))
        found.append(Factor(f"f{f}", values, tuple(p.name for p in parents), table / table.sum(-1, keepdim=True)))
    return FactorModel(found)


def every_state(model):
    return torch.tensor(list(itertools.product(*map(range, model.cardinalities))))


def by_hand(model, state):
    """p(s), entry by entry."""
    p = 1.0
    for f, each in enumerate(model.factors):
        p *= float(each.table[tuple(int(state[model.names.index(name)]) for name in each.parents)][state[f]])
    return p


@settings(max_examples=60, deadline=None)
@given(models(), st.integers(0, 2**31))
def test_conditional_is_the_enumerated_one(model, seed):
    rng = torch.Generator().manual_seed(seed)
    states = every_state(model)
    joint = torch.tensor([by_hand(model, s) for s in states], dtype=torch.float64)
    assert torch.allclose(model.log_probability(states).exp(), joint, atol=1e-12)
    assert abs(float(joint.sum()) - 1) < 1e-9

    rows = model.sample(6, rng)
    seen = torch.rand(rows.shape, generator=rng) < 0.5
    posteriors = model.conditional(rows, seen)
    for n, (row, visible) in enumerate(zip(rows, seen)):
        agrees = ((states == row) | ~visible).all(1)
        for f, count in enumerate(model.cardinalities):
            mass = torch.stack([joint[agrees & (states[:, f] == v)].sum() for v in range(count)])
            assert torch.allclose(posteriors[f][n], mass / mass.sum(), atol=1e-12)
            assert ((posteriors[f][n] == 0) == (mass == 0)).all()  # the rules' zeros stay exact


@settings(max_examples=30, deadline=None)
@given(models(), st.integers(0, 2**31))
def test_coherent_states_break_no_rule_and_zeros_are_the_rules(model, seed):
    rng = torch.Generator().manual_seed(seed)
    assert not model.violations(model.sample(50, rng)).any()
    states = model.sample_independent(50, rng)
    assert (model.violations(states).any(1) == model.log_probability(states).isneginf()).all()


def hats():
    hat = ("hat", ("none", "red", "blue"), ["shirt"], lambda colour: {"none": 1, colour: 3})
    return FactorModel(factors(("shirt", ("red", "blue")), hat))


def test_sampling_frequencies_are_the_tables():
    states = hats().sample(20_000, torch.Generator().manual_seed(0))
    share = torch.stack([(states == torch.tensor(s)).all(1).double().mean() for s in ([0, 0], [0, 1], [1, 0], [1, 2])])
    # 5 standard deviations of a frequency of 0.375: false alarm below 1 in 10^6
    assert torch.allclose(share, torch.tensor([1, 3, 1, 3]).double() / 8, atol=5 * (0.375 * 0.625 / 20_000) ** 0.5)


def test_impossible_evidence_names_the_row_and_the_factors():
    model, states = hats(), torch.tensor([[0, 1], [0, 2]])
    with pytest.raises(EvidenceError, match=r"row 1: .*shirt = red, hat = blue"):
        model.conditional(states, torch.tensor([True, True]))


@pytest.mark.parametrize(
    "states, seen, message",
    [
        (torch.zeros(2, 3, dtype=torch.long), torch.ones(3, dtype=torch.bool), r"\(2, 3\)"),
        (torch.zeros(2, 2), torch.ones(2, dtype=torch.bool), "int64"),
        (torch.tensor([[0, 3]]), torch.ones(2, dtype=torch.bool), "'hat' is 3"),
        (torch.tensor([[0, 1]]), torch.ones(2, 2, dtype=torch.bool), "seen is"),
    ],
)
def test_bad_evidence_is_refused(states, seen, message):
    with pytest.raises(EvidenceError, match=message):
        hats().conditional(states, seen)
