"""Factors of a completed procedural scene: right where they are determined, without contradictions, calibrated.

A scene's factors follow a small Bayesian network whose posterior is exact, and a mask shows some of them. Three
questions then have exact answers, besides the comparison with one truth:

    determined    where the visible factors leave one value, does the completion show it?
    violations    do the parts of the whole picture, known ones included, break a rule?
    calibration   where they leave a choice, does each value come as often as it should?

The states of the completions are those that the judge reads: states = judge.read(completions).

Letters: B cases (an image under a mask, completed once), F factors, C_f values of factor f. A method that is run with
several seeds has a case per seed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..worlds.factors import FactorModel

CERTAIN = 0.999  # a conditional probability from here on determines a factor


def determined(model: FactorModel, read: Tensor, truth: Tensor, seen: Tensor, hidden: Tensor) -> Tensor:
    """Share of the determined factors that each completion gets right.

    determined_b = mean over {f hidden : max_v p(s_f = v | seen) >= CERTAIN} of [read_bf = the value determined]

    Args:
        model: the scene's factors.
        read: (B, F) long, the states that the judge reads in the completions.
        truth: (B, F) long, the factors of the true images; only the seen ones are used.
        seen, hidden: (B, F) bool, what the masks show and hide, `Scene.seen(known)`.

    Returns: (B,) float64; NaN where the visible factors determine none of the hidden ones. Which images these are
        depends on the masks alone, so methods are compared on the others.
    """
    right = torch.zeros(len(read), dtype=torch.float64)
    count = torch.zeros(len(read), dtype=torch.float64)
    for f, conditional in enumerate(model.conditional(truth, seen)):
        highest, value = conditional.max(1)
        scored = hidden[:, f] & (highest >= CERTAIN)
        count += scored
        right += scored & (read[:, f] == value)
    return right / count


class Calibration(NamedTuple):
    """How far frequencies are from the exact conditional, factor by factor.

    Attributes:
        distance: (F,) float64, total variation from 0 to 1; NaN for a factor without cases.
        chance: (F,) float64, about what draws from the exact conditional would show in as few cases.
        cases: (F,) long, cases in which the factor is hidden and open.
    """

    distance: Tensor
    chance: Tensor
    cases: Tensor

    @property
    def mean(self) -> tuple[float, float]:
        """`distance` and `chance` over all factors, each weighed by its cases; NaN without any case."""
        weight = self.cases / self.cases.sum()
        distance, chance = ((weight * values.nan_to_num()).sum() for values in (self.distance, self.chance))
        return float(distance), float(chance)


def calibration(model: FactorModel, read: Tensor, truth: Tensor, seen: Tensor, hidden: Tensor) -> Calibration:
    """How far the frequencies of the completed values are from the exact conditional.

    Cases of factor f with the same p = p(s_f | seen) form a group g of n_g cases, in which value v is read with
    frequency q_gv:

        distance_f = sum_g n_g / n * 1/2 sum_v |q_gv - p_gv|

    Without groups, a method that ignores the visible part and follows the overall frequencies would be perfect.
    Determined factors are left out: see `determined`.

    With few cases, frequencies differ from p by chance. Where q comes from n_g independent draws from p, about

        chance_f = sum_g n_g / n * 1/2 sum_v sqrt(2 p_gv (1 - p_gv) / (pi n_g))

    is expected (the mean absolute deviation of a normal distribution). Only what exceeds it is an error of the method.
    Masks that all images share make large groups; with a mask of its own for every image, nearly all is chance.

    Args: as `determined`; several seeds of an image are several cases.
    """
    rows = []
    for f, conditional in enumerate(model.conditional(truth, seen)):
        scored = hidden[:, f] & (conditional.max(1).values < CERTAIN)
        rows.append(_grouped(conditional[scored], read[scored, f]))
    distance, chance, cases = zip(*rows)
    return Calibration(torch.tensor(distance).double(), torch.tensor(chance).double(), torch.tensor(cases))


def _grouped(conditional: Tensor, values: Tensor) -> tuple[float, float, int]:
    """Distance, chance and number of cases of one factor: conditional (n, C) and values read (n,)."""
    if len(values) == 0:
        return math.nan, math.nan, 0
    # Rounding: the same posterior reached by different evidence differs in its last digits.
    exact, group, size = conditional.mul(1e6).round().div(1e6).unique(dim=0, return_inverse=True, return_counts=True)
    counts = torch.zeros_like(exact).index_put_((group, values), torch.ones(len(values)).double(), accumulate=True)
    frequency = counts / size[:, None]
    weight = size / len(values)
    distance = weight * (frequency - exact).abs().sum(1) / 2
    chance = weight * (2 * exact * (1 - exact) / (math.pi * size[:, None])).sqrt().sum(1) / 2
    return float(distance.sum()), float(chance.sum()), len(values)
