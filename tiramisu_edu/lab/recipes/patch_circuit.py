"""The circuits of faces and rooms: a hidden Chow-Liu tree over Gaussian patches, and its independent control.

Four steps: k-means gives every patch position its codes; a Chow-Liu tree over the codes ties patches;
the latents start as clusters of what surrounds their patch (distillation, with the picture itself as the teacher); EM
refines circuit and Gaussians together.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ...checkpoint import Checkpoint
from ...circuits import structures
from ...circuits.circuit import Circuit
from ...circuits.learning import NUMBERS, READ, History, Rows, fit_em, mean_log_likelihood
from ...errors import ImageError
from ...methods import STORED
from ...ranks import agreed, process_rank, share
from ...steering.low_rank import LowRankCodebook, PooledCodebook, load_codebook
from ...steering.patches import PatchCodebook
from ..datafiles import digest_of
from ..memory import PROGRAM
from ..worlds.stored import Pictures
from .gate import MATRICES, MOST, gate, one_gaussian_per_patch
from .picture_teacher import teach
from .training import Job, Source

BATCH = 256  # pictures at once


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
        minutes: after which no round begins; None for no limit.
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
    minutes: float | None = None


@dataclass(frozen=True)
class PatchRows:
    """The soft evidence of whole pictures on their patches' codes, made batch by batch: data for `fit_em`."""

    codebook: PatchCodebook
    images: Pictures

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any, /) -> Tensor:
        image = self.images[torch.as_tensor(index)].to(self.codebook.means.device)
        return self.codebook.log_likelihoods(image, torch.ones_like(image[:, :1], dtype=torch.bool))


def train_patch_circuit(job: Job, settings: PatchSettings) -> Circuit:
    """Learn codebook and tree from the training split, and write both, side by side.

    Returns:
        The circuit; `facts` holds held-out nats per image beside those of independent patches (K = 1 on the same
        codebook) and of one Gaussian per patch, and what `gate` found.
    """
    s, source, generator = settings, job.source, job.generator()
    train, validation = source.images("train", s.images)[0], source.images("validation", 1024)[0]
    test = source.images("test")[0]

    kept = job.kept(s, train)
    codebook = fit_codebook(train, s, generator, job.device, Checkpoint(kept.stage("codes"), kept.request))
    codes = torch.cat([codebook.categories(part.to(job.device)).cpu() for part in train.split(BATCH)])
    graph = structures.hclt(codes, num_categories=s.num_codes, num_latents=s.num_latents)
    circuit = Circuit(graph, generator=generator).to(job.device)
    teach(circuit, codes, train, generator, kept.stage("latents"))

    codebook = refine(circuit, codebook, train, validation, s, generator, kept)
    codebook = with_factors(circuit, codebook, train, source, s)
    independent = independent_patches(codebook, train, kept.stage("independent"))
    sizes = f"K = {s.num_latents}, V = {s.num_codes} Gaussians of rank {s.rank}"
    data = f"{source.name}, {len(train)} training images of {train.shape[2]} x {train.shape[3]}"
    codebook.save(job.beside("codebook"), half=s.rank > 0, data=data, seed=job.seed)
    circuit.facts = {
        "data": data,
        "structure": f"HCLT over {s.patch} x {s.patch} patches, {sizes}",
        "seed": job.seed,
        "test_nats": round(mean_log_likelihood(circuit, PatchRows(codebook, test)), 2),
        "test_nats_independent_patches": round(mean_log_likelihood(independent, PatchRows(codebook, test)), 2),
        "test_nats_one_gaussian_per_patch": round(one_gaussian_per_patch(train, test, s.patch), 2),
        "gate": gate(circuit, codebook, train, validation[:256]),
        "made_from": {"codebook": digest_of(job.beside("codebook"))},
    }
    circuit.save(job.path, half=True, **circuit.facts)
    return circuit


def with_factors(
    circuit: Circuit, codebook: PatchCodebook, train: Pictures, source: Source, settings: PatchSettings
) -> PatchCodebook:
    """The codebook with the factors of the settings: of each Gaussian, and of one of all whole training pictures."""
    if settings.rank:
        codebook = refit(circuit, LowRankCodebook.of(codebook, settings.rank), train)
    if settings.whole:
        whole = LowRankCodebook.one_gaussian(source.images("train")[0][:], settings.whole).to(circuit.device)
        codebook = PooledCodebook(**vars(codebook), whole=whole)
    return codebook


def fit_codebook(
    images: Pictures,
    settings: PatchSettings,
    generator: torch.Generator,
    device: str = "cpu",
    checkpoint: Checkpoint | None = None,
) -> PatchCodebook:
    """`PatchCodebook.fit` one position at a time, so that no more than the patches of one are in memory."""
    p, (C, H, W) = settings.patch, images.shape[1:]
    if H % p or W % p:
        raise ImageError(f"{H} x {W} pictures cannot be cut into {p} x {p} patches: choose another --patch")
    sizes: dict[str, Any] = {"patch": p, "num_codes": settings.num_codes, "generator": generator}

    def fitted(row: int, col: int) -> list[Tensor]:
        book = PatchCodebook.fit(images[:, :, row : row + p, col : col + p].to(device), **sizes)
        return [book.means, book.variances]

    jobs = [partial(fitted, row, col) for row in range(0, H, p) for col in range(0, W, p)]
    found = (checkpoint or Checkpoint(None, {})).results(jobs, generator, "codes of patches")
    means, variances = (torch.cat([tensor.to(device) for tensor in each]) for each in zip(*found))
    return PatchCodebook(means, variances, p, (C, H, W))


def refine(
    circuit: Circuit,
    codebook: PatchCodebook,
    train: Pictures,
    validation: Pictures,
    settings: PatchSettings,
    generator: torch.Generator,
    checkpoint: Checkpoint | None = None,
) -> PatchCodebook:
    """Rounds of EM on the circuit, in place, each followed by new Gaussians, which are returned."""
    first, checkpoint = 0, checkpoint or Checkpoint(None, {})
    if (state := checkpoint.load()) is not None:
        circuit.load_state_dict(state["circuit"])
        codebook = PatchCodebook(state["means"], state["variances"], codebook.patch, codebook.shape).to(circuit.device)
        generator.set_state(state["generator"])
        first = state["rounds"]
    bar, started = tqdm(range(first, settings.rounds), desc="rounds of EM", disable=None), time.monotonic()
    for r in bar:
        spent = agreed(lambda: (time.monotonic() - started) / 60)
        if settings.minutes is not None and spent > settings.minutes:
            break
        rows, held_out = PatchRows(codebook, train), PatchRows(codebook, validation)
        history = em_round(circuit, rows, held_out, r, settings, generator, checkpoint.stage("round"))
        codebook = refit(circuit, codebook, train)
        bar.set_postfix(nats=f"{history.validation[-1]:.2f}", refresh=False)
        if bar.disable and process_rank() == 0:
            print(f"round {r + 1} of {settings.rounds}: {history.validation[-1]:.2f} nats held out", flush=True)
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


def train_independent_circuit(job: Job, settings: PatchSettings) -> Circuit:
    """The control with K = 1 on the codebook of the patch circuit: each patch by itself, and no dependence."""
    made_of = job.made("codebook")
    codebook = load_codebook(made_of).to(torch.device(job.device))
    train, test = job.source.images("train", settings.images)[0], job.source.images("test")[0]
    circuit = independent_patches(codebook, train, job.checkpoint)
    nats = round(mean_log_likelihood(circuit, PatchRows(codebook, test)), 2)
    circuit.facts = {"data": job.source.name, "structure": "independent patches", "seed": job.seed, "test_nats": nats}
    circuit.facts["made_from"] = {"codebook": digest_of(made_of)}
    circuit.save(job.path, half=True, **circuit.facts)
    return circuit


def independent_patches(codebook: PatchCodebook, images: Pictures, checkpoint: str | Path | None = None) -> Circuit:
    """K = 1: the codes' own frequencies, by EM on the same soft evidence."""
    D, V, _ = codebook.means.shape
    circuit = Circuit(structures.factorized(D, num_categories=V), generator=torch.Generator().manual_seed(0))
    circuit.to(codebook.means.device)
    rows = PatchRows(codebook, images)
    fit_em(circuit, rows, epochs=5, pseudocount=1.0, checkpoint=checkpoint, progress=False)
    return circuit


@torch.no_grad()
def refit(circuit: Circuit, codebook: PatchCodebook, images: Pictures) -> PatchCodebook:
    """The Gaussians' M-step under the circuit's exact posterior of the codes."""
    rows = PatchRows(codebook, images)
    parts = share(torch.arange(len(images))).split(BATCH)
    device = circuit.device
    return codebook.maximise((images[part].to(device), circuit.posterior_marginals(rows[part])) for part in parts)


def patch_memory(settings: PatchSettings, count: int, size: int) -> float:
    """About how many bytes `train_patch_circuit` takes for `count` pictures of size x size, as measured.

    Most of it is the soft evidence of as many pictures as are read at once.
    """
    s, D, P = settings, (size // settings.patch) ** 2, 3 * settings.patch**2
    N, V, K = min(count, s.images), s.num_codes, s.num_latents
    of_pictures = N * (4 * (300 * 3 + 2 * P + 2 * V) + 2 * 8 * D)  # of one position; codes and states of all
    of_parameters = 4 * D * (16 * K * (K + V) + 16 * V * P)
    rows = min(N, READ, NUMBERS // (D * V) + 1)
    of_batches = 4 * D * (rows * (9 * V + 13 * P) + 4 * max(BATCH, s.batch_size) * (V + K))
    of_factors = 8 * 3 * s.rank * (D * V * P + 3 * 256 * D * V) + 8 * 3 * s.whole * 3 * size**2
    of_gate, n = 8 * D * P**2, min(count, STORED)
    if K > 1 and size**2 <= MOST:  # of a tree; the control has none
        of_gate += 8 * (MATRICES * size**4 + n * (6 * size**2 + 3 * n))
    return PROGRAM + of_pictures + of_parameters + of_batches + of_factors + of_gate
