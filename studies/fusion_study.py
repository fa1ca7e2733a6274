"""What coherence buys and costs in semantic fusion: how far pictures follow references, and what rules they break.

Pairs of held-out pictures are fused at rising levels of coherence by the methods and controls of `fusion_methods`.

Letters: P pairs, R = 2 references of each, N noise seeds, L levels of coherence.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from studies.fusion_methods import METHODS, contradiction, demands_of, models_of, sampled
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.lab.evaluation.metrics import diversity
from tiramisu_edu.lab.evaluation.significance import PairedInterval, paired_interval
from tiramisu_edu.lab.worlds.factors import violations
from tiramisu_edu.steering.layouts import check_regions

if TYPE_CHECKING:
    from tiramisu_edu.world import World


REAL = 512
"""Real pictures that fused ones are compared with."""


class Fused(NamedTuple):
    """What one method made of all pairs at one level of coherence.

    agreement_each: (R, P, N) share of the factors seen in a reference's region that the judge reads as the reference
    has them. violations: (P, N) rules broken anywhere in the picture. diversity: (P,) mean distance between seeds, NaN
    with one seed. contradiction: (P,) nats, see `FusionResult`. realism: (P, N) distance of the judge's features to the
    nearest of 512 real pictures; lower is better.
    """

    agreement_each: Tensor
    violations: Tensor
    diversity: Tensor
    contradiction: Tensor
    realism: Tensor

    @property
    def agreement(self) -> Tensor:
        """(P, N) mean over the references."""
        return self.agreement_each.mean(0)


class FusionStudy(NamedTuple):
    """Results of `study`.

    fused: (method, coherence) -> Fused. free: coherence 0, the plain sampler. pasted: the references' own pixels, side
    by side: what following without any sense would be. real: mean realism of other real pictures, the least to expect.
    """

    world: str
    regions: str
    steps: int
    methods: tuple[str, ...]
    coherences: tuple[float, ...]
    fused: dict[tuple[str, float], Fused]
    free: Fused
    pasted: Fused
    real: float
    seconds: float


class _Pairs(NamedTuple):
    """References (P, R, C, H, W), their factors (P, R, F), regions (R, 1, H, W), features of real pictures (M, D)."""

    references: Tensor
    states: Tensor
    regions: Tensor
    real: Tensor


def study(
    world: World,
    *,
    pairs: int = 32,
    regions: str = "up-down",
    coherences: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9),
    methods: Sequence[str] = METHODS,
    steps: int = 12,
    seeds: int = 2,
    seed: int = 0,
    split: str = "test",
    progress: bool = True,
) -> FusionStudy:
    """Fuse pairs of held-out pictures with every method at every level, and measure.

    Args:
        world: a procedural one, on the CPU, with a judge.
        pairs: P.
        regions: a layout for two references.
        coherences: levels, rising, above 0 and below 1.
        methods: of `METHODS`.
        steps: denoising steps of DDIM.
        seeds: N pictures per pair and level; all methods and levels start from the same noise.
        seed: of the noise.
        split: "validation" to look around, "test" to report; its first pictures are the pairs.
        progress: show a progress bar.

    Raises:
        TiramisuError: for a world without factors, an unknown method, levels that do not rise, or one pair.
    """
    levels = list(coherences)
    if unknown := [name for name in methods if name not in METHODS]:
        raise TiramisuError(f"unknown method {unknown[0]!r} of fusion: choose from {'; '.join(METHODS)}")
    if levels != sorted(set(levels)) or not levels or levels[0] <= 0 or levels[-1] >= 1:
        raise TiramisuError(f"the levels of a study rise between 0 and 1, both excluded; not {levels}")
    begun = time.perf_counter()
    chosen, others = _chosen(world, pairs, regions, split)
    nothing_asked = torch.zeros(pairs)
    found = {}
    with tqdm(total=1 + len(methods) * len(levels), desc=world.name, unit="level", disable=not progress) as bar:
        free = _measured(world, chosen, sampled(world, pairs, seeds, None, chosen.regions, steps, seed), nothing_asked)
        bar.update()
        for method in methods:
            models = models_of(world, method)
            for level in levels:
                demands = [demands_of(models, references, chosen.regions, level) for references in chosen.references]
                joint = torch.stack([d.joint for d in demands])
                images = sampled(world, pairs, seeds, (models, joint), chosen.regions, steps, seed)
                found[method, level] = _measured(world, chosen, images, contradiction(models.circuit, demands))
                bar.update()
    own = (chosen.references * chosen.regions).sum(1, keepdim=True)  # (P, 1, C, H, W), grey where none rules
    pasted = _measured(world, chosen, own, nothing_asked)
    return FusionStudy(
        world.name,
        regions,
        steps,
        tuple(methods),
        tuple(levels),
        found,
        free,
        pasted,
        float(_nearest(others, chosen.real).mean()),
        time.perf_counter() - begun,
    )


def _chosen(world: World, pairs: int, regions: str, split: str) -> tuple[_Pairs, Tensor]:
    """The first pictures of a split in pairs, and features of other real ones."""
    if world.scene is None:
        raise TiramisuError(f"agreement and rules need a procedural world, which {world.name!r} is not")
    if pairs < 2:
        raise TiramisuError(f"intervals over pairs need at least 2 pairs, not {pairs}")
    images, states = world.images(split, 2 * pairs + 2 * REAL)
    references, factors = (tensor[: 2 * pairs].unflatten(0, (pairs, 2)) for tensor in (images, states))
    real, others = world.judge.features(images[2 * pairs :]).chunk(2)
    size = (images.shape[2], images.shape[3])
    return _Pairs(references, factors, check_regions(regions, 2, size), real), others


def _nearest(features: Tensor, real: Tensor) -> Tensor:
    """Distance of each row (B, D) to the nearest of (M, D), (B,)."""
    return torch.cdist(features, real).amin(1).double()


def _measured(world: World, chosen: _Pairs, images: Tensor, nats: Tensor) -> Fused:
    """Look at pictures (P, N, C, H, W) through the judge."""
    P, N = images.shape[:2]
    scene = world.scene
    assert scene is not None
    flat = images.flatten(0, 1)
    read = world.judge.read(flat).unflatten(0, (P, N))
    seen = scene.seen(chosen.regions)[0].double()  # (R, F)
    same = (read[:, None] == chosen.states[:, :, None]).double()  # (P, R, N, F)
    agreement = torch.einsum("prnf,rf->rpn", same, seen) / seen.sum(1)[:, None, None]
    broken = violations(scene.model, read.flatten(0, 1)).unflatten(0, (P, N))
    unknown = torch.zeros(1, 1, *images.shape[-2:], dtype=torch.bool).expand(P, -1, -1, -1)
    spread = diversity(images.transpose(0, 1), unknown) if N > 1 else torch.full((P,), torch.nan)
    realism = _nearest(world.judge.features(flat), chosen.real).unflatten(0, (P, N))
    return Fused(agreement, broken, spread, nats, realism)


def rises(study: FusionStudy, method: str) -> list[PairedInterval]:
    """By how much agreement rises from one level to the next, with 95 % intervals over pairs; L of them, from 0 on."""
    agreements = [study.free.agreement, *(study.fused[method, c].agreement for c in study.coherences)]
    return [interval_over_pairs(after, before) for before, after in itertools.pairwise(agreements)]


def interval_over_pairs(a: Tensor, b: Tensor) -> PairedInterval:
    """95 % interval of mean(a - b) for (P, N), whole pairs being drawn."""
    clusters = torch.arange(len(a)).repeat_interleave(a.shape[1])
    generator = torch.Generator().manual_seed(0)
    return paired_interval(a.flatten(), b.flatten(), generator, 2_000, clusters, lower_is_better=False)


class EqualAgreement(NamedTuple):
    """Rules broken by a method and by a control where both agree as much with the references.

    agreement: that both reach. method, control: rules broken there. difference, low, high: method minus control, with
    its 95 % interval; the method is better where high is below 0.
    """

    agreement: float
    method: float
    control: float
    difference: float
    low: float
    high: float


def at_equal_agreement(
    study: FusionStudy, method: str, control: str, *, shares: Sequence[float] = (0.25, 0.5, 0.75, 1.0)
) -> list[EqualAgreement]:
    """Compare the rules broken along both curves of rules against agreement, interpolated between the levels.

    Both curves begin at coherence 0. They are compared where agreement has gone a share of its way from there to the
    highest that both reach. Intervals: bootstrap over pairs, both curves drawn anew from the same pairs.
    """
    curves = [_curve(study, name) for name in (method, control)]
    means = [(a.mean(0), v.mean(0)) for a, v in curves]
    start, end = float(means[0][0][0]), float(min(a.max() for a, _ in means))
    targets = start + np.array(shares) * (end - start)
    found = [_rules_at(a, v, targets) for a, v in means]

    draw = np.random.default_rng(0).integers(len(curves[0][0]), size=(2_000, len(curves[0][0])))
    gaps = []
    for pairs in draw:
        one, other = (_rules_at(a[pairs].mean(0), v[pairs].mean(0), targets) for a, v in curves)
        gaps.append(one - other)
    low, high = np.quantile(gaps, [0.025, 0.975], axis=0)
    rows = zip(targets, found[0], found[1], found[0] - found[1], low, high)
    return [EqualAgreement(*map(float, row)) for row in rows]


def _curve(study: FusionStudy, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Agreement and rules broken, both (P, 1 + L), means over the seeds; the first column is coherence 0."""
    points = [study.free, *(study.fused[method, c] for c in study.coherences)]
    agreement, rules = (
        torch.stack([x.mean(1) for x in column], 1).numpy()
        for column in ([p.agreement for p in points], [p.violations for p in points])
    )
    return agreement, rules


def _rules_at(agreement: np.ndarray, rules: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Rules broken at target agreements, linear between levels; where agreement falls, its highest so far counts."""
    return np.interp(targets, np.maximum.accumulate(agreement), rules)


def meter(study: FusionStudy, method: str, coherence: float) -> float:
    """Spearman's rank correlation over pairs of a pair's contradiction and the rules that its pasted parts break."""
    nats, broken = study.fused[method, coherence].contradiction, study.pasted.violations[:, 0]
    return float(np.corrcoef(_ranks(nats), _ranks(broken))[0, 1])


def _ranks(values: Tensor) -> np.ndarray:
    """Ranks, the mean rank for ties."""
    below = (values[None] < values[:, None]).sum(1)
    return (below + (values[None] == values[:, None]).sum(1) / 2).numpy()
