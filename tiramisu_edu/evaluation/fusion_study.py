"""What coherence buys and costs in semantic fusion: how far pictures follow references, and what rules they break.

Pairs of held-out pictures are fused at rising levels of coherence, by the circuit over codes, by the circuit over
patches, and by two controls of each that get the same demands in the same way:

    K = 1         the product of the circuit's own marginals, p(z) = prod_j p_j(z_j): each patch, no dependence
    no circuit    even weights: only the demands and the network's own prediction speak

Letters: P pairs, R = 2 references of each, N noise seeds, L levels of coherence.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..circuits import structures
from ..circuits.circuit import Circuit
from ..errors import TiramisuError
from ..inpainting import inpaint
from ..steering.codes import covered_fraction
from ..steering.fusion import CodeFusionGuide, Demands, PixelFusionGuide, code_demands, pixel_demands
from ..steering.guide import Guide, own_generator
from ..steering.guides import code_models
from ..steering.layouts import check_regions
from ..tokenizer import Tokenizer
from .factors import violations
from .metrics import diversity
from .perceptual import frechet_distance
from .significance import PairedInterval, paired_interval

if TYPE_CHECKING:
    from ..diffusion.samplers.step import Generators
    from ..zoo import World

METHODS = ("codes", "codes, K = 1", "codes, no circuit", "pixels", "pixels, K = 1", "pixels, no circuit")
_BATCH = 64


class Fused(NamedTuple):
    """What one method made of all pairs at one level of coherence.

    agreement_each: (R, P, N) share of the factors seen in a reference's region that the judge reads as the reference
    has them. violations: (P, N) rules broken anywhere in the picture. diversity: (P,) mean distance between seeds, NaN
    with one seed. contradiction: (P,) nats, see `FusionResult`. realism: Frechet distance of the judge's features to
    as many real pictures; lower is better.
    """

    agreement_each: Tensor
    violations: Tensor
    diversity: Tensor
    contradiction: Tensor
    realism: float

    @property
    def agreement(self) -> Tensor:
        """(P, N) mean over the references."""
        return self.agreement_each.mean(0)


class FusionStudy(NamedTuple):
    """Results of `study`.

    fused: (method, coherence) -> Fused. free: coherence 0, the plain sampler. pasted: the references' own pixels, side
    by side: what following without any sense would be. real: realism of real pictures, the least that can be expected.
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
    """References (P, R, C, H, W), their factors (P, R, F), regions (R, 1, H, W), and 2 P N real pictures besides."""

    references: Tensor
    states: Tensor
    regions: Tensor
    real: Tensor
    seeds: int


def study(
    world: World,
    *,
    pairs: int = 48,
    regions: str = "up-down",
    coherences: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.9),
    methods: Sequence[str] = METHODS,
    steps: int = 12,
    seeds: int = 3,
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
        seed: of the choice of pairs and of the noise.
        split: "validation" to look around, "test" to report.
        progress: show a progress bar.

    Raises:
        TiramisuError: for a world without factors, an unknown method, levels that do not rise, or too many pairs.
    """
    levels = list(coherences)
    if unknown := [name for name in methods if name not in METHODS]:
        raise TiramisuError(f"unknown method {unknown[0]!r} of fusion: choose from {'; '.join(METHODS)}")
    if levels != sorted(set(levels)) or not levels or levels[0] <= 0 or levels[-1] >= 1:
        raise TiramisuError(f"the levels of a study rise between 0 and 1, both excluded; not {levels}")
    begun = time.perf_counter()
    chosen = _chosen(world, pairs, regions, seeds, split, seed)
    nothing_asked = torch.zeros(pairs)
    found = {}
    with tqdm(total=1 + len(methods) * len(levels), desc=world.name, unit="level", disable=not progress) as bar:
        free = _measured(world, chosen, _sampled(world, chosen, None, None, steps, seed), nothing_asked)
        bar.update()
        for method in methods:
            models = _models(world, method)
            for level in levels:
                demands = [_demands(models, chosen.regions, references, level) for references in chosen.references]
                images = _sampled(world, chosen, models, torch.stack([d.joint for d in demands]), steps, seed)
                found[method, level] = _measured(world, chosen, images, _contradiction(models[0], demands))
                bar.update()
    own = (chosen.references * chosen.regions).sum(1, keepdim=True)  # (P, 1, C, H, W), grey where none rules
    pasted = _measured(world, chosen, own, nothing_asked)
    real, others = world.judge.features(chosen.real).chunk(2)
    return FusionStudy(
        world.name,
        regions,
        steps,
        tuple(methods),
        tuple(levels),
        found,
        free,
        pasted,
        frechet_distance(real, others),
        time.perf_counter() - begun,
    )


def _chosen(world: World, pairs: int, regions: str, seeds: int, split: str, seed: int) -> _Pairs:
    if world.scene is None:
        raise TiramisuError(f"agreement and rules need a procedural world, which {world.name!r} is not")
    images, states = world.images(split)
    wanted = 2 * pairs + 2 * pairs * seeds
    if pairs < 2 or seeds < 1 or wanted > len(images):
        raise TiramisuError(
            f"{pairs} pairs and {seeds} seeds need {wanted} pictures: have at least 2 pairs, 1 seed, and at most the "
            f"{len(images)} pictures of the {split} split"
        )
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:wanted]
    drawn, real = order[: 2 * pairs], order[2 * pairs :]
    size = (images.shape[2], images.shape[3])
    references, factors = (tensor[drawn].unflatten(0, (pairs, 2)) for tensor in (images, states))
    return _Pairs(references, factors, check_regions(regions, 2, size), images[real], seeds)


def factorised(marginals: Tensor) -> Circuit:
    """p(z) = prod_j p_j(z_j) for marginals (D, V): K = 1, a circuit that knows no dependence."""
    graph = structures.factorized(len(marginals), num_categories=marginals.shape[1])
    circuit = Circuit(graph, generator=torch.Generator().manual_seed(0))
    for index, region in enumerate(graph.regions):
        if region.is_input:
            circuit.set_region_table(index, marginals[region.scope[0]][None])
    return circuit


def _models(world: World, method: str) -> tuple[Circuit, Any]:
    """The circuit of a method, and its tokenizer or codebook."""
    kind, _, control = method.partition(", ")
    circuit, codec = code_models(world) if kind == "codes" else (world.circuit, world.codebook)
    if control:
        free = torch.zeros(1, circuit.num_variables, circuit.num_categories)
        marginals = circuit.posterior_marginals(free)[0]
        circuit = factorised(marginals if control == "K = 1" else torch.full_like(marginals, 1 / marginals.shape[1]))
    return circuit, codec


def _demands(models: tuple[Circuit, Any], regions: Tensor, references: Tensor, coherence: float) -> Demands:
    ask = code_demands if isinstance(models[1], Tokenizer) else pixel_demands
    return ask(models[1], references, regions, coherence)


@torch.no_grad()
def _sampled(
    world: World, chosen: _Pairs, models: tuple[Circuit, Any] | None, demand: Tensor | None, steps: int, seed: int
) -> Tensor:
    """(P, N, C, H, W), guided by the joint demands (P, D, V); without models the plain sampler."""
    P, N = len(chosen.references), chosen.seeds
    parts = []
    for number, part in enumerate(torch.arange(P).split(max(1, _BATCH // N))):
        nothing = torch.zeros(len(part) * N, *chosen.references.shape[2:])
        generator = torch.Generator().manual_seed(1_000 * seed + number)
        guide = None
        if models is not None and demand is not None:
            guide = _guide(models, demand[part].repeat_interleave(N, 0), chosen.regions, own_generator(generator))
        found = inpaint(
            world,
            nothing,
            torch.zeros_like(nothing[:, :1], dtype=torch.bool),
            sampler="ddim",
            guide=guide,
            num_inference_steps=steps,
            generator=generator,
        )
        parts.append(found.images.unflatten(0, (-1, N)))
    return torch.cat(parts)


def _guide(models: tuple[Circuit, Any], demand: Tensor, regions: Tensor, generator: Generators) -> Guide:
    """The guide of `fuse`, with a demand of its own for each row."""
    circuit, codec = models
    if not isinstance(codec, Tokenizer):
        return PixelFusionGuide(circuit, codec, demand=demand)
    ruled = covered_fraction(regions, demand.shape[1]).sum(0)
    return CodeFusionGuide(circuit, codec, demand=demand, ruled=ruled, generator=generator)


@torch.no_grad()
def _contradiction(circuit: Circuit, demands: Sequence[Demands]) -> Tensor:
    """(P,) sum of each reference's log Z minus that of all together."""
    each = circuit.log_partition(torch.cat([d.each for d in demands])).view(len(demands), -1)
    return each.sum(1) - circuit.log_partition(torch.stack([d.joint for d in demands]))


def _measured(world: World, chosen: _Pairs, images: Tensor, contradiction: Tensor) -> Fused:
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
    real = world.judge.features(chosen.real.chunk(2)[0])
    return Fused(agreement, broken, spread, contradiction, frechet_distance(world.judge.features(flat), real))


def rises(study: FusionStudy, method: str) -> list[PairedInterval]:
    """By how much agreement rises from one level to the next, with 95 % intervals over pairs; L of them, from 0 on."""
    agreements = [study.free.agreement, *(study.fused[method, c].agreement for c in study.coherences)]
    return [_over_pairs(after, before, lower=False) for before, after in itertools.pairwise(agreements)]


def _over_pairs(a: Tensor, b: Tensor, *, lower: bool) -> PairedInterval:
    clusters = torch.arange(len(a)).repeat_interleave(a.shape[1])
    generator = torch.Generator().manual_seed(0)
    return paired_interval(a.flatten(), b.flatten(), generator, 2_000, clusters, lower_is_better=lower)


class EqualAgreement(NamedTuple):
    """Rules broken by a method and by a control where both agree as much with the references.

    agreement: that both reach. difference, low, high: of the rules broken, method minus control, with its 95 %
    interval; the method is better where high is below 0.
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
