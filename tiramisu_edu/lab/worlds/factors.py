"""A Bayesian network as data: what an image of a world is made of, and which parts must match.

    p(s) = Π_f p(s_f | s_parents(f))            s one state per factor, each factor a table

A *rule* is a zero of a table: with an identity table the child must equal its parent. Because the network is small,
the posterior of what a mask hides given what it leaves visible is exact; nothing learned is involved.

    >>> hat = ("hat", ("none", "red", "blue"), ["shirt"], lambda colour: {"none": 0.5, colour: 0.5})
    >>> model = FactorModel(factors(("shirt", ("red", "blue")), hat))
    >>> state = torch.tensor([[0, 2]])  # a red shirt and a blue hat
    >>> model.violations(state)[0].tolist()
    [False, True]
    >>> model.conditional(state, torch.tensor([False, True]))[0].tolist()  # the hat is seen: the shirt is blue
    [[0.0, 1.0]]

Letters: N states, F factors, C_f values of factor f. Sources: Pearl 1988 (the network); Dechter 1999 (elimination);
Darwiche 2003, "A differential approach to inference in Bayesian networks" (all posteriors from one derivative).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...errors import EvidenceError

_ROWS = 2048  # states eliminated at once: bounds the memory of the intermediate tables


class Factor(NamedTuple):
    """One part of a picture: p(value | values of the parents) as a table."""

    name: str
    values: tuple[str, ...]
    parents: tuple[str, ...]
    table: Tensor  # (C_parent ..., C) float64, every row sums to 1


def factors(*rows: tuple) -> list[Factor]:
    """Factors from a table in words, parents first.

    Args:
        rows: (name, values), uniform; or (name, values, names of the parents, rule). A rule is a function of the
            parents' values: the one value allowed, or weights of values (normalised here; a value that is not named has
            probability 0).
    """
    found: dict[str, Factor] = {}
    for name, values, *more in rows:
        parents, rule = more or ((), None)
        of_parents = [found[parent].values for parent in parents]
        weights = []
        for given in itertools.product(*of_parents):
            allowed = rule(*given) if rule else dict.fromkeys(values, 1.0)
            allowed = {allowed: 1.0} if isinstance(allowed, str) else allowed
            weights.append([allowed.get(value, 0.0) for value in values])
        table = torch.tensor(weights, dtype=torch.float64).reshape(*map(len, of_parents), len(values))
        found[name] = Factor(name, tuple(values), tuple(parents), table / table.sum(-1, keepdim=True))
    return list(found.values())


def equal(value: str) -> str:
    """The rule of a factor that has its parent's value."""
    return value


class FactorModel:
    """A Bayesian network over factors, parents before children."""

    def __init__(self, factors: Sequence[Factor]) -> None:
        self.factors = tuple(factors)
        self.names = tuple(each.name for each in self.factors)
        self.cardinalities = tuple(len(each.values) for each in self.factors)
        self._parents = [[self.index(name) for name in each.parents] for each in self.factors]

    def __len__(self) -> int:
        return len(self.factors)

    def index(self, name: str) -> int:
        """The column of a factor in states (N, F)."""
        return self.names.index(name)

    # Sampling.

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` coherent states (count, F) long, parents before children: no rule is broken."""
        states = torch.zeros(count, len(self), dtype=torch.long)
        for f in range(len(self)):
            states[:, f] = torch.multinomial(self._rows(states, f), 1, generator=generator)[:, 0]
        return states

    def sample_independent(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` states (count, F) long, every factor uniform and independent: rules are broken at will."""
        columns = [torch.randint(c, (count,), generator=generator) for c in self.cardinalities]
        return torch.stack(columns, dim=1)

    def sample_given(self, states: Tensor, seen: Tensor, generator: torch.Generator) -> Tensor:
        """States drawn from p(s | seen), (N, F) long: one factor after the other, each given those before it.

        Args: states, seen as in `conditional`.
        """
        states, seen = states.clone(), seen.clone()
        for f in range(len(self)):
            drawn = torch.multinomial(self.conditional(states, seen)[f], 1, generator=generator)[:, 0]
            states[:, f], seen[:, f] = drawn, True
        return states

    # Exact queries.

    def log_probability(self, states: Tensor) -> Tensor:
        """log p(s), (N,) float64 for states (N, F); −inf where a rule is broken."""
        return self._own_probabilities(self._checked(states)).log().sum(1)

    def violations(self, states: Tensor) -> Tensor:
        """(N, F) bool: True where p(s_f | s_parents(f)) = 0, so the rule of factor f is broken."""
        return self._own_probabilities(self._checked(states)) == 0

    def conditional(self, states: Tensor, seen: Tensor) -> list[Tensor]:
        """The exact posterior of every factor given the seen ones.

        Z(w) = Σ_s Π_f p(s_f | s_parents(f)) w_f(s_f)      w one-hot where seen, 1 elsewhere
        p(s_f = v | seen) = w_f(v) ∂Z/∂w_f(v) / Z

        One elimination of all factors gives Z, its derivative all the posteriors.

        Args:
            states: (N, F) long; entries that are not seen are not read.
            seen: (N, F) or (F,) bool.

        Returns: F tensors (N, C_f) float64; one-hot where seen.
        Raises:
            EvidenceError: for wrong shapes, states out of range, or seen factors that have probability 0 together.
        """
        seen = seen.expand(len(states), len(self)) if seen.shape in ((len(self),), states.shape) else seen
        if seen.shape != states.shape or seen.dtype != torch.bool:
            raise EvidenceError(
                f"seen is {seen.dtype} {tuple(seen.shape)}; needed is torch.bool {tuple(states.shape)} "
                f"or ({len(self)},)"
            )
        states = self._checked(states.where(seen, 0))
        parts = [self._posteriors(s, o) for s, o in zip(states.split(_ROWS), seen.split(_ROWS))]
        posteriors = [torch.cat(column) for column in zip(*parts)]
        contradictory = posteriors[0].isnan().any(1).nonzero()[:, 0].tolist() if parts else []
        if contradictory:
            row = contradictory[0]
            words = [f"{self.names[f]} = {self.factors[f].values[states[row, f]]}" for f in seen[row].nonzero()[:, 0]]
            raise EvidenceError(
                f"row {row}: the seen factors have probability 0 together ({', '.join(words)}); they break a rule: "
                "see FactorModel.violations"
            )
        return posteriors

    def _posteriors(self, states: Tensor, seen: Tensor) -> list[Tensor]:
        weights = [
            torch.nn.functional.one_hot(states[:, f], c).double().where(seen[:, f, None], 1.0).requires_grad_()
            for f, c in enumerate(self.cardinalities)
        ]
        with torch.enable_grad():
            slopes = torch.autograd.grad(self._eliminate(weights).sum(), weights)
        joint = [w.detach() * slope for w, slope in zip(weights, slopes)]  # p(s_f = v, seen)
        return [p / p.sum(1, keepdim=True) for p in joint]

    def _eliminate(self, weights: list[Tensor]) -> Tensor:
        """Z(w), (N,): sums out one factor after the other, children first, and multiplies only the tables with it."""
        batch = len(self)  # the letter of axis N in the contractions
        pending = [(each.table, [*self._parents[f], f]) for f, each in enumerate(self.factors)]
        pending += [(w, [batch, f]) for f, w in enumerate(weights)]
        for f in reversed(range(len(self))):  # where parents are few, no table grows beyond a few factors
            bucket = [term for term in pending if f in term[1]]
            pending = [term for term in pending if f not in term[1]]
            rest = sorted({axis for _, axes in bucket for axis in axes} - {f})
            operands = [piece for term in bucket for piece in term]
            pending.append((torch.einsum(*operands, rest), rest))
        return torch.stack([z for z, _ in pending]).prod(0)

    # Helpers.

    def _rows(self, states: Tensor, f: int) -> Tensor:
        """p(s_f = v | s_parents(f)), (N, C_f)."""
        table, given = self.factors[f].table, tuple(states[:, p] for p in self._parents[f])
        return table[given] if given else table.expand(len(states), -1)

    def _own_probabilities(self, states: Tensor) -> Tensor:
        """p(s_f | s_parents(f)), (N, F)."""
        columns = [self._rows(states, f).gather(1, states[:, f, None])[:, 0] for f in range(len(self))]
        return torch.stack(columns, dim=1)

    def _checked(self, states: Tensor) -> Tensor:
        if states.ndim != 2 or states.shape[1] != len(self) or states.dtype != torch.long:
            raise EvidenceError(
                f"states are {states.dtype} {tuple(states.shape)}; needed is torch.int64 (N, {len(self)})"
            )
        outside = ((states < 0) | (states >= torch.tensor(self.cardinalities))).nonzero().tolist()
        if outside:
            row, f = outside[0]
            raise EvidenceError(
                f"row {row}: factor {self.names[f]!r} is {int(states[row, f])}; "
                f"its values are 0 ... {self.cardinalities[f] - 1}"
            )
        return states


def violations(model: FactorModel, read: Tensor) -> Tensor:
    """Number of rules that each completion breaks, (B,) float64: factors whose value its parents' values forbid.

    The judge's own mistakes count too. Its number on true images, which break none, is what a perfect method gets.

    Args: as `determined`.
    """
    return model.violations(read).sum(1).double()
