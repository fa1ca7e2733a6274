"""The circuits of faces and rooms: a hidden Chow-Liu tree over Gaussian patches, and its independent control.

Four steps: k-means gives every patch position its codes; a Chow-Liu tree over the codes ties patches;
the latents start as clusters of what surrounds their patch (distillation, with the picture itself as the teacher); EM
refines circuit and Gaussians together.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ...checkpoint import Checkpoint
from ...circuits import structures
from ...circuits.circuit import Circuit
from ...circuits.learning import History, Rows, fit_em, mean_log_likelihood
from ...files import tensor_digest
from ...steering.codebooks import PooledCodebook, load_codebook
from ...steering.low_rank import LowRankCodebook
from ...steering.patches import PatchCodebook, to_patches
from .picture_teacher import teach
from .training import Images


@dataclass(frozen=True)
class PatchSettings:
    """Sizes of a patch circuit.

    Attributes:
        images: of the training split.
        patch: side of a patch in pixels.
        num_codes: V, Gaussians per patch position.
        num_latents: K, states per latent of the tree.
        rounds: EM rounds; each ends with new Gaussians.
        epochs: passes over the images per round.
        batch_size: images per EM step.
        pseudocount: samples' worth of evenness added to each node's edges.
        rank: R, factors of each Gaussian, fitted after the last round; 0: diagonal ones.
        whole: factors of one Gaussian of whole pictures, whose posterior is pooled with the circuit's; 0: without.
    """

    images: int = 16_384
    patch: int = 4
    num_codes: int = 64
    num_latents: int = 64
    rounds: int = 12
    epochs: int = 2
    batch_size: int = 256
    pseudocount: float = 0.2
    rank: int = 0
    whole: int = 0


@dataclass(frozen=True)
class PatchRows:
    """The soft evidence of whole pictures on their patches' codes, made batch by batch: data for `fit_em`."""

    codebook: PatchCodebook
    images: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any, /) -> Tensor:
        image = self.images[torch.as_tensor(index)]
        return self.codebook.log_likelihoods(image, torch.ones_like(image[:, :1], dtype=torch.bool))


def train_patch_circuit(
    world: str,
    images: Images,
    circuit_path: str | Path,
    codebook_path: str | Path,
    *,
    seed: int = 0,
    settings: PatchSettings | None = None,
    checkpoint: str | Path | None = None,
) -> Circuit:
    """Learn codebook and tree from the training split, and write both.

    Args:
        world: its name, noted in the files.
        images: its pictures.
        circuit_path, codebook_path: the files to write, atomically.
        seed: of k-means and of the mini-batches.
        settings: see `PatchSettings`; its defaults if None.
        checkpoint: file to go on from where it exists.

    Returns:
        The circuit; `facts` holds held-out nats per image beside those of independent patches (K = 1 on the same
        codebook) and of one Gaussian per patch.
    """
    s = settings or PatchSettings()
    generator = torch.Generator().manual_seed(seed)
    train = images("train", s.images)[0]
    validation, test = (images(split, None)[0] for split in ("validation", "test"))

    request = {"world": world, "seed": seed, "settings": asdict(s), "images": tensor_digest({"images": train})}
    kept = Checkpoint(checkpoint, request)
    stage = kept.stage("codes")
    codebook = PatchCodebook.fit(train, patch=s.patch, num_codes=s.num_codes, generator=generator, checkpoint=stage)
    codes = codebook.categories(train)
    graph = structures.hclt(codes, num_categories=s.num_codes, num_latents=s.num_latents)
    circuit = Circuit(graph, generator=generator)
    teach(circuit, codes, train, generator, kept.stage("latents"))

    codebook = refine(circuit, codebook, train, validation[:1024], s, generator, kept)
    if s.rank:
        codebook = refit(circuit, LowRankCodebook.of(codebook, s.rank), train)
    independent = independent_patches(codebook, train, kept.stage("independent"))
    sizes = f"K = {s.num_latents}, V = {s.num_codes} Gaussians of rank {s.rank}"
    circuit.facts = {
        "data": f"{world}, {len(train)} training images of {train.shape[2]} x {train.shape[3]}",
        "structure": f"HCLT over {s.patch} x {s.patch} patches, {sizes}",
        "seed": seed,
        "test_nats": round(mean_log_likelihood(circuit, PatchRows(codebook, test)), 2),
        "test_nats_independent_patches": round(mean_log_likelihood(independent, PatchRows(codebook, test)), 2),
        "test_nats_one_gaussian_per_patch": round(one_gaussian_per_patch(train, test, s.patch), 2),
    }
    if s.whole:
        whole = LowRankCodebook.one_gaussian(images("train", None)[0], s.whole)
        codebook = PooledCodebook(**vars(codebook), whole=whole)
    codebook.save(codebook_path, half=s.rank > 0, data=circuit.facts["data"], seed=seed)
    circuit.save(circuit_path, half=True, **circuit.facts)
    return circuit


def refine(
    circuit: Circuit,
    codebook: PatchCodebook,
    train: Tensor,
    validation: Tensor,
    settings: PatchSettings,
    generator: torch.Generator,
    checkpoint: Checkpoint | None = None,
) -> PatchCodebook:
    """Rounds of EM on the circuit, in place, each followed by new Gaussians, which are returned."""
    first, checkpoint = 0, checkpoint or Checkpoint(None, {})
    if (state := checkpoint.load()) is not None:
        circuit.load_state_dict(state["circuit"])
        codebook = PatchCodebook(state["means"], state["variances"], codebook.patch, codebook.shape)
        generator.set_state(state["generator"])
        first = state["rounds"]
    bar = tqdm(range(first, settings.rounds), desc="rounds of EM", disable=None)
    for r in bar:
        rows, held_out = PatchRows(codebook, train), PatchRows(codebook, validation)
        history = em_round(circuit, rows, held_out, r, settings, generator, checkpoint.stage("round"))
        codebook = refit(circuit, codebook, train)
        bar.set_postfix(nats=f"{history.validation[-1]:.2f}", refresh=False)
        Checkpoint(checkpoint.stage("round"), {}).remove()
        state = {"circuit": circuit.state_dict(), "means": codebook.means, "variances": codebook.variances}
        checkpoint.save({**state, "generator": generator.get_state(), "rounds": r + 1})
    return codebook


def em_round(
    circuit: Circuit,
    rows: Rows,
    validation: Rows,
    number: int,
    settings: PatchSettings,
    generator: torch.Generator,
    checkpoint: Path | None = None,
) -> History:
    """EM with steps that shrink within a round and from round to round."""
    first = 0.3 / (1 + number / 4)
    return fit_em(
        circuit,
        rows,
        validation=validation,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        pseudocount=settings.pseudocount,
        step_size=lambda done: first / (1 + 2 * done),
        generator=generator,
        checkpoint=checkpoint,
        progress=False,
    )


def train_independent_circuit(
    world: str,
    images: Images,
    path: str | Path,
    codebook_path: str | Path,
    *,
    seed: int = 0,
    checkpoint: str | Path | None = None,
) -> Circuit:
    """The control with K = 1 on the codebook of the patch circuit: each patch by itself, and no dependence."""
    codebook = load_codebook(codebook_path)
    train, test = images("train", PatchSettings.images)[0], images("test", None)[0]
    circuit = independent_patches(codebook, train, checkpoint)
    nats = round(mean_log_likelihood(circuit, PatchRows(codebook, test)), 2)
    circuit.facts = {"data": world, "structure": "independent patches", "seed": seed, "test_nats": nats}
    circuit.save(path, half=True, **circuit.facts)
    return circuit


def independent_patches(codebook: PatchCodebook, images: Tensor, checkpoint: str | Path | None = None) -> Circuit:
    """K = 1: the codes' own frequencies, by EM on the same soft evidence."""
    D, V, _ = codebook.means.shape
    circuit = Circuit(structures.factorized(D, num_categories=V), generator=torch.Generator().manual_seed(0))
    rows = PatchRows(codebook, images)
    fit_em(circuit, rows, epochs=5, pseudocount=1.0, checkpoint=checkpoint, progress=False)
    return circuit


def one_gaussian_per_patch(train: Tensor, test: Tensor, patch: int) -> float:
    """Mean log density of test images when each patch is one Gaussian with a full covariance, independent of others."""
    fit, held_out = (to_patches(x, patch).double().permute(1, 0, 2) for x in (train, test))
    mean = fit.mean(1, keepdim=True)
    P = fit.shape[2]
    covariance = (fit - mean).mT @ (fit - mean) / fit.shape[1] + 1e-5 * torch.eye(P, dtype=torch.float64)
    factor = torch.linalg.cholesky(covariance)
    white = torch.linalg.solve_triangular(factor, (held_out - mean).mT, upper=False)  # (D, P, N)
    log_det = 2 * factor.diagonal(dim1=1, dim2=2).log().sum(1)
    log_density = -0.5 * (white.square().sum(1) + log_det[:, None] + P * math.log(2 * math.pi))
    return log_density.sum(0).mean().item()


@torch.no_grad()
def refit(circuit: Circuit, codebook: PatchCodebook, images: Tensor, batch: int = 1024) -> PatchCodebook:
    """The Gaussians' M-step under the circuit's exact posterior of the codes."""
    rows = PatchRows(codebook, images)
    parts = torch.arange(len(images)).split(batch)
    return codebook.maximise(images, torch.cat([circuit.posterior_marginals(rows[part]) for part in parts]))
