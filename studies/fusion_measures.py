"""What is measured on fused pairs, and what the numbers of many pairs say: all from one data frame.

Letters: P pairs, R = 2 references of each, N noise seeds, L levels of coherence.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.lab.evaluation.metrics import diversity
from tiramisu_edu.lab.evaluation.significance import Interval, interval, resampled
from tiramisu_edu.lab.worlds.factors import violations
from tiramisu_edu.steering.layouts import check_regions
from tiramisu_edu.world import World

REAL = 512  # real pictures that fused ones are compared with
PLAIN, PASTED = "plain sampler", "references pasted"
SHARES = (0.25, 0.5, 0.75, 1.0)  # of the way to the highest agreement that two methods reach


class Pairs(NamedTuple):
    """References (P, R, C, H, W), their factors (P, R, F), regions (R, 1, H, W), features of real pictures (M, D)."""

    references: Tensor
    states: Tensor
    regions: Tensor
    real: Tensor


def chosen_pairs(world: World, pairs: int) -> tuple[Pairs, float]:
    """The first test pictures in pairs, and the mean realism of other real pictures."""
    if world.scene is None:
        raise TiramisuError(f"agreement and rules need a procedural world, which {world.name!r} is not")
    if pairs < 2:
        raise TiramisuError(f"intervals over pairs need at least 2 pairs, not {pairs}")
    images, states = world.images("test", 2 * pairs + 2 * REAL)
    references, factors = (tensor[: 2 * pairs].unflatten(0, (pairs, 2)) for tensor in (images, states))
    real, others = world.judge.features(images[2 * pairs :]).chunk(2)
    layout = check_regions("up-down", 2, (images.shape[2], images.shape[3]))
    return Pairs(references, factors, layout, real), float(_nearest(others, real).mean())


def measured(world: World, pairs: Pairs, images: Tensor, nats: Tensor, method: str, coherence: float) -> pd.DataFrame:
    """A row for each of the pictures (P, N, C, H, W) of a method, as the judge reads them.

    Returns: columns method, coherence, pair; agreement_0, agreement_1 (share of the factors seen in a reference's
        region that are read as the reference has them); rules_broken (anywhere in the picture); diversity (of the
        pair's seeds, NaN with one seed); nats (the pair's contradiction, see `FusionResult`); realism (distance of the
        judge's features to the nearest of 512 real pictures, lower is better).
    """
    P, N = images.shape[:2]
    flat = images.flatten(0, 1)
    read = world.judge.read(flat)
    seen = world.scene.seen(pairs.regions)[0].double()  # (R, F)
    same = (read.unflatten(0, (P, N))[:, None] == pairs.states[:, :, None]).double()  # (P, R, N, F)
    agreement = torch.einsum("prnf,rf->rpn", same, seen) / seen.sum(1)[:, None, None]
    all_hidden = torch.zeros(P, 1, *images.shape[-2:], dtype=torch.bool)
    spread = diversity(images.transpose(0, 1), all_hidden) if N > 1 else torch.full((P,), torch.nan)
    columns = {
        "pair": torch.arange(P).repeat_interleave(N),
        "agreement_0": agreement[0].flatten(),
        "agreement_1": agreement[1].flatten(),
        "rules_broken": violations(world.scene.model, read),
        "diversity": spread.repeat_interleave(N),
        "nats": nats.repeat_interleave(N),
        "realism": _nearest(world.judge.features(flat), pairs.real),
    }
    numbers = pd.DataFrame({name: values.numpy() for name, values in columns.items()})
    return pd.concat([pd.DataFrame({"method": method, "coherence": coherence}, numbers.index), numbers], axis=1)


def _nearest(features: Tensor, real: Tensor) -> Tensor:
    """Distance of each row (B, D) to the nearest of (M, D), (B,)."""
    return torch.cdist(features.detach(), real.detach()).amin(1).double()


def agreement(frame: pd.DataFrame) -> pd.Series:
    """The mean over both references."""
    return (frame["agreement_0"] + frame["agreement_1"]) / 2


def methods(frame: pd.DataFrame) -> list[str]:
    """In order, without the plain sampler and the pasted references."""
    return [method for method in frame["method"].unique() if method not in (PLAIN, PASTED)]


def curve(frame: pd.DataFrame, method: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Agreement and rules broken of a method, (P, 1 + L), means over the seeds; coherence 0 is the plain sampler."""
    own = frame[frame["method"].isin([PLAIN, method])]
    own = own.assign(agreement=agreement(own)).groupby(["pair", "coherence"])[["agreement", "rules_broken"]].mean()
    return own["agreement"].unstack(), own["rules_broken"].unstack()


def rises(frame: pd.DataFrame, method: str) -> list[Interval]:
    """By how much agreement rises from one level to the next, with 95 % intervals over pairs; L of them, from 0 on."""
    reached = curve(frame, method)[0]
    return [interval(reached[after] - reached[before]) for before, after in itertools.pairwise(reached)]


def at_equal_agreement(
    frame: pd.DataFrame, method: str, control: str, shares: Sequence[float] = SHARES
) -> Iterable[tuple[float, float, float, Interval]]:
    """Rules broken along both curves of rules against agreement, interpolated between the levels.

    Both curves begin at coherence 0. They are compared where agreement has gone a share of its way from there to the
    highest that both reach. Intervals: bootstrap over pairs, both curves drawn anew from the same pairs.

    Returns: agreement, rules broken there by the method and by the control, and the first minus the second: the method
        is better where the interval's upper end is below 0.
    """
    curves = [tuple(part.to_numpy() for part in curve(frame, name)) for name in (method, control)]
    start, end = curves[0][0].mean(0)[0], min(reached.mean(0).max() for reached, _ in curves)
    targets = start + np.array(shares) * (end - start)

    def rules(pairs: np.ndarray) -> list[np.ndarray]:
        """Linear between levels; where agreement falls, its highest so far counts."""
        means = [(reached[pairs].mean(0), broken[pairs].mean(0)) for reached, broken in curves]
        return [np.interp(targets, np.maximum.accumulate(reached), broken) for reached, broken in means]

    def gap(draws: np.ndarray, axis: int) -> np.ndarray:
        return np.moveaxis(np.apply_along_axis(lambda pairs: np.subtract(*rules(pairs)), axis, draws), -1, 0)

    everyone = np.arange(len(curves[0][0]))
    ends = zip(*resampled(gap, everyone))
    for target, own, other, (low, high) in zip(targets, *rules(everyone), ends):
        yield target, own, other, Interval(own - other, low, high)


def meter(frame: pd.DataFrame, method: str, coherence: float) -> float:
    """Spearman's rank correlation over pairs of a pair's contradiction and the rules that its pasted parts break."""
    own = frame[(frame["method"] == method) & (frame["coherence"] == coherence)].groupby("pair")["nats"].mean()
    pasted = frame[frame["method"] == PASTED].groupby("pair")["rules_broken"].mean()
    return float(stats.spearmanr(own, pasted).statistic)
