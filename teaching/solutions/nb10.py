"""Notebook 10: solutions, and wrong answers seen in class, each under the sentence that would help."""

from __future__ import annotations

import numpy as np

from . import Answers

# 1: what a reference asks of one patch.

check_demand = Answers(
    name="demand",
    task="return 1 - κ + κ V q(v) for every value v, where V is their number",
    solution=lambda q, kappa: 1 - kappa + kappa * len(q) * q,
    cases={
        "ruled in part": (np.array([0.7, 0.2, 0.1]), 0.25),
        "ruled": (np.array([0.9, 0.1]), 1.0),
        "not ruled": (np.array([0.5, 0.3, 0.1, 0.1]), 0.0),
    },
    mistakes={
        "the part that is not ruled asks nothing: with κ = 0 every weight is 1": lambda q, kappa: kappa * len(q) * q,
        "an even belief asks nothing either: V q is 1 then, q is 1 / V": lambda q, kappa: 1 - kappa + kappa * q,
        "κ is the share that the reference rules, 1 - κ the rest: they are swapped": lambda q, kappa: (
            kappa + (1 - kappa) * len(q) * q
        ),
        "a factor 1 / V is left over: it changes no posterior, but every log Z by log V": lambda q, kappa: (
            (1 - kappa) / len(q) + kappa * q
        ),
    },
)


# 2: how far two demands contradict each other.

check_contradiction = Answers(
    name="contradiction",
    task="return log Z of a alone plus log Z of b alone minus log Z of both, with Z = Σ_x p(x) w(x)",
    solution=lambda p, a, b: np.log(p @ a) + np.log(p @ b) - np.log(p @ (a * b)),
    cases={
        "rarely together": (np.array([0.45, 0.45, 0.1]), np.array([2.0, 0.0, 1.0]), np.array([0.0, 2.0, 1.0])),
        "one asks nothing": (np.array([0.2, 0.8]), np.array([1.9, 0.1]), np.array([1.0, 1.0])),
        "often together": (np.array([0.5, 0.3, 0.2]), np.array([1.8, 0.1, 1.1]), np.array([1.5, 0.5, 1.0])),
    },
    mistakes={
        "the sign is turned: demands that rarely go together have a small Z, and their contradiction is above 0": (
            lambda p, a, b: np.log(p @ (a * b)) - np.log(p @ a) - np.log(p @ b)
        ),
        "the contradiction is counted in nats: take the logarithm of this quotient": lambda p, a, b: (
            (p @ a) * (p @ b) / (p @ (a * b))
        ),
        "Z is an average under the circuit: weigh each picture by p(x), not evenly": lambda p, a, b: (
            np.log(a.mean()) + np.log(b.mean()) - np.log((a * b).mean())
        ),
        "both demands together are a product of weights, not a sum": lambda p, a, b: (
            np.log(p @ a) + np.log(p @ b) - np.log(p @ (a + b))
        ),
    },
)


# 3: LPIPS, one layer.


def _unit(y: np.ndarray) -> np.ndarray:
    """Every position's channels scaled to length 1, (C, H, W)."""
    return y / np.sqrt((y**2).sum(0, keepdims=True))


def _layers(seed: int, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    y = np.random.default_rng(seed).uniform(0.1, 2.0, (2, *shape))
    return y[0], y[1]


check_layer_distance = Answers(
    name="layer_distance",
    task="scale the channels at each position to length 1, then return the mean over positions of |y - y'|²",
    solution=lambda y, other: ((_unit(y) - _unit(other)) ** 2).sum(0).mean(),
    cases={
        "one position": (np.array([[[3.0]], [[4.0]]]), np.array([[[4.0]], [[3.0]]])),
        "six positions": _layers(0, (2, 2, 3)),
        "the same, three times brighter": (_layers(2, (3, 2, 2))[0], 3 * _layers(2, (3, 2, 2))[0]),
    },
    mistakes={
        "scale first: without it a layer that is three times brighter looks far away": lambda y, other: (
            ((y - other) ** 2).sum(0).mean()
        ),
        "each position has its own length: the root of the sum over channels, not over the layer": lambda y, other: (
            ((y / np.sqrt((y**2).sum()) - other / np.sqrt((other**2).sum())) ** 2).sum(0).mean()
        ),
        "the mean is over positions only: add the squares of the channels up": lambda y, other: (
            (_unit(y) - _unit(other)) ** 2
        ).mean(),
        "the squared length is wanted: no root": lambda y, other: np.sqrt(
            ((_unit(y) - _unit(other)) ** 2).sum(0)
        ).mean(),
    },
)


# 4: wins as the paper counts them.


def _tally(ours: np.ndarray, base: np.ndarray, decimals: int = 3) -> tuple[int, int, int]:
    """(won, tied, lost) where less is better."""
    gap = np.round(base, decimals) - np.round(ours, decimals)
    tied = np.abs(gap) < 10.0**-decimals / 2
    return int(((gap > 0) & ~tied).sum()), int(tied.sum()), int(((gap < 0) & ~tied).sum())


check_tally = Answers(
    name="tally",
    task="return (won, tied, lost): in how many settings the LPIPS of `ours` is below, equal to, above that of `base`, "
    "both rounded to three decimals",
    solution=_tally,
    cases={
        "a clear table": (np.array([0.310, 0.205, 0.480]), np.array([0.330, 0.201, 0.500])),
        "ties in the third decimal": (np.array([0.1871, 0.2204, 0.4512]), np.array([0.1874, 0.2204, 0.4498])),
        "close": (np.array([0.0694, 0.4861, 0.2891]), np.array([0.0752, 0.4879, 0.2872])),
    },
    mistakes={
        "LPIPS is a distance: less is better, so won and lost change places": lambda ours, base: _tally(ours, base)[
            ::-1
        ],
        "a table of three decimals cannot tell 0.1871 from 0.1874: round before you compare": lambda ours, base: _tally(
            ours, base, 12
        ),
        "three decimals are printed: two make ties of real wins": lambda ours, base: _tally(ours, base, 2),
        "a tie is not a win: count it apart": lambda ours, base: (
            _tally(ours, base)[0] + _tally(ours, base)[1],
            0,
            _tally(ours, base)[2],
        ),
    },
)


# 5: what a voter prefers.


def _for_a(choices: list[str], a_left: list[bool]) -> tuple[int, int]:
    """Votes for A and for B."""
    a = sum(choice == ("left" if left else "right") for choice, left in zip(choices, a_left))
    return a, sum(choice != "tie" for choice in choices) - a


def _vote_difference(choices: list[str], a_left: list[bool]) -> float:
    a, b = _for_a(choices, a_left)
    return (a - b) / len(choices)


check_vote_difference = Answers(
    name="vote_difference",
    task="return (votes for A - votes for B) / all votes; A is on the left where `a_left` is True",
    solution=_vote_difference,
    cases={
        "a friend of A": (["left", "right", "right", "left", "tie"], [True, False, False, False, True]),
        "always left": (["left", "left", "left", "left"], [True, False, True, False]),
        "mostly no difference": (["tie", "tie", "tie", "left"], [True, True, False, False]),
    },
    mistakes={
        "A changes sides: a vote for the left is one for A only where `a_left` is True": lambda choices, a_left: (
            (choices.count("left") - choices.count("right")) / len(choices)
        ),
        "a tie counts for neither, but it was cast: divide by all votes": lambda choices, a_left: (
            (_for_a(choices, a_left)[0] - _for_a(choices, a_left)[1]) / sum(_for_a(choices, a_left))
        ),
        "this is the share for A: the share for B has to be taken off": lambda choices, a_left: (
            _for_a(choices, a_left)[0] / len(choices)
        ),
        "the sign is turned: a plus speaks for A": lambda choices, a_left: -_vote_difference(choices, a_left),
    },
)
