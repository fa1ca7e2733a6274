"""Circuits over pixels, patches and codes, trained alike: what the scaling study compares.

Each is a hidden Chow-Liu tree whose latents start from a teacher and are refined by EM, with what ties it to
pictures. Each can say how likely a picture is and complete one by itself, without a denoiser.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.circuits.learning import mean_log_likelihood
from tiramisu_edu.circuits.structures import chow_liu_edges, latent_tree
from tiramisu_edu.lab.recipes.patch_circuit import PatchRows, PatchSettings, em_round, refine
from tiramisu_edu.lab.recipes.picture_teacher import teach
from tiramisu_edu.lab.recipes.tokenizer import TokenizerSettings, train_tokenizer
from tiramisu_edu.steering.evidence import Observation
from tiramisu_edu.steering.latent import LatentGuide, covered_fraction, decoded_moments
from tiramisu_edu.steering.patches import PatchCodebook
from tiramisu_edu.tokenizer import PATCH, Tokenizer

KINDS = {"pixel": 2, "patch": PATCH, "code": PATCH}  # kind of circuit -> side of a variable's block in pixels
SAMPLES = 8  # pictures that are averaged for the mean of a code circuit


@dataclass(frozen=True)
class ModelSettings:
    """The budget, the same for every kind and size.

    Attributes:
        teach_images: of the training pictures, to make tree, Gaussians and latents from.
        num_latents: K.
        num_codes: V, Gaussians per position of pixel and patch circuits.
        tree_codes: clusters per position whose mutual information makes the tree: few, because the table has
            (variables x clusters)^2 entries.
        rounds, epochs: EM rounds, and passes in each; Gaussians are refitted after each round.
        batch_size: pictures per EM step.
        tokenizer: batch_size is of pictures of 32 x 32; of larger ones as few as have the same number of patches.
        seed: of everything random.
    """

    teach_images: int = 1_024
    num_latents: int = 32
    num_codes: int = 32
    tree_codes: int = 4
    rounds: int = 2
    epochs: int = 2
    batch_size: int = 128
    tokenizer: TokenizerSettings = field(default_factory=lambda: TokenizerSettings(steps=600))
    seed: int = 0

    @property
    def em(self) -> PatchSettings:
        """The rounds as `refine` and `em_round` take them."""
        return PatchSettings(rounds=self.rounds, epochs=self.epochs, batch_size=self.batch_size)


@dataclass(frozen=True)
class PatchModel:
    """p(x) = sum_z p_PC(z) prod_j N(x_j; mu[j, z_j], s2[j, z_j]): exact about pixels."""

    circuit: Circuit
    codebook: PatchCodebook

    @property
    def bytes(self) -> int:
        """Of all parameters in float32."""
        return 4 * (self.circuit.graph.num_parameters + 2 * self.codebook.means.numel())

    def nats(self, images: Tensor) -> float:
        """Mean log p(x) of pictures (N, 3, H, H)."""
        return mean_log_likelihood(self.circuit, PatchRows(self.codebook, images))

    def mean(self, images: Tensor, known: Tensor) -> Tensor:
        """E[x | known pixels], exact, (N, 3, H, H)."""
        seen = _clean(images, known)
        return self.codebook.moments(self.circuit.posterior_marginals(self.codebook.log_weights(seen)), seen).mean

    def draw(self, images: Tensor, known: Tensor, generator: torch.Generator) -> Tensor:
        """A joint sample of the codes given the known pixels, each shown as its mean, (N, 3, H, H)."""
        codes = self.circuit.sample(1, self.codebook.log_weights(_clean(images, known)), generator=generator)[0]
        return torch.where(known, images, self.codebook.image(codes))


@dataclass(frozen=True)
class CodeModel:
    """p_PC(z) over the codes of a tokenizer, and pictures as decode(z) with an error of variance s2 per number."""

    circuit: Circuit
    tokenizer: Tokenizer
    error: float

    @property
    def bytes(self) -> int:
        """Of all parameters in float32."""
        values = [*self.tokenizer.parameters(), *self.tokenizer.buffers()]
        return 4 * (self.circuit.graph.num_parameters + sum(value.numel() for value in values))

    def code_nats(self, images: Tensor) -> float:
        """Mean log p_PC(z) of the codes of pictures (N, 3, H, H)."""
        return mean_log_likelihood(self.circuit, self.tokenizer.encode(images))

    def nats(self, images: Tensor) -> float:
        """A lower bound of mean log p(x): of the sum over all codes only the term of the picture's own code."""
        numbers = images[0].numel()
        squared = numbers * squared_error(self.tokenizer, images)
        return self.code_nats(images) - (squared / self.error + numbers * math.log(2 * math.pi * self.error)) / 2

    @torch.no_grad()
    def mean(self, images: Tensor, known: Tensor) -> Tensor:
        """E[x | known pixels] by the average of `SAMPLES` decoded joint samples, (N, 3, H, H)."""
        codes = self.circuit.sample(SAMPLES, self.evidence(images, known), generator=torch.Generator().manual_seed(0))
        return torch.where(known, images, decoded_moments(self.tokenizer, codes).mean)

    @torch.no_grad()
    def draw(self, images: Tensor, known: Tensor, generator: torch.Generator) -> Tensor:
        """A joint sample of the codes, decoded, (N, 3, H, H)."""
        codes = self.circuit.sample(1, self.evidence(images, known), generator=generator)[0]
        return torch.where(known, images, self.tokenizer.decode(codes))

    def evidence(self, images: Tensor, known: Tensor) -> Tensor:
        """log w_j(z), (N, D, V): sharp for a known patch, nothing for a hidden one.

        In a patch that is known in part the hidden pixels are taken to have the mean colour of the known ones, and the
        encoder's belief is the softer the fewer are known: an approximation that Gaussian leaves do not need.
        """
        share = avg_pool2d(known.to(images), PATCH)
        colour = avg_pool2d(torch.where(known, images, 0.0), PATCH) / share.clamp_min(1 / PATCH**2)
        guess = torch.where(known, images, interpolate(colour, scale_factor=PATCH, mode="nearest"))
        log_p = self.tokenizer.log_probabilities(guess)
        guide = LatentGuide(self.circuit, self.tokenizer, hidden_evidence=False)
        return guide.evidence(log_p, covered_fraction(known, log_p.shape[1]))


def squared_error(tokenizer: Tokenizer, images: Tensor) -> float:
    """Mean squared difference of a number of a picture after encoding and decoding."""
    with torch.no_grad():
        parts = [
            (tokenizer.decode(tokenizer.encode(part)) - part).square().double().sum() for part in images.split(256)
        ]
    return float(torch.stack(parts).sum()) / images.numel()


def train_model(kind: str, images: Tensor, validation: Tensor, settings: ModelSettings) -> PatchModel | CodeModel:
    """A model of one of `KINDS` from pictures (N, 3, H, H)."""
    generator = torch.Generator().manual_seed(settings.seed)
    make = _train_codes if kind == "code" else _train_patches
    return make(images, validation, KINDS[kind], settings, generator)


def _train_patches(
    images: Tensor, validation: Tensor, patch: int, s: ModelSettings, generator: torch.Generator
) -> PatchModel:
    some = images[: s.teach_images]
    codebook = PatchCodebook.fit(some, patch=patch, num_codes=s.num_codes, generator=generator)
    circuit = _tree(some, patch, s.num_codes, s, generator)
    teach(circuit, codebook.categories(some), some, generator)
    return PatchModel(circuit, refine(circuit, codebook, images, validation, s.em, generator))


def _train_codes(
    images: Tensor, validation: Tensor, patch: int, s: ModelSettings, generator: torch.Generator
) -> CodeModel:
    batch = max(1, s.tokenizer.batch_size * 32**2 // images.shape[-1] ** 2)
    tokenizer = train_tokenizer(images, replace(s.tokenizer, batch_size=batch, seed=s.seed))
    some = images[: s.teach_images]
    circuit = _tree(some, patch, tokenizer.num_codes, s, generator)
    teach(circuit, tokenizer.encode(some), some, generator)
    codes, held_out = tokenizer.encode(images), tokenizer.encode(validation)
    for r in range(s.rounds):
        em_round(circuit, codes, held_out, r, s.em, generator)
    return CodeModel(circuit, tokenizer, squared_error(tokenizer, images))


def _tree(images: Tensor, patch: int, num_categories: int, s: ModelSettings, generator: torch.Generator) -> Circuit:
    """A hidden Chow-Liu tree over the patches, from coarse clusters of them."""
    coarse = PatchCodebook.fit(images, patch=patch, num_codes=s.tree_codes, generator=generator).categories(images)
    graph = latent_tree(chow_liu_edges(coarse, s.tree_codes), num_categories=num_categories, num_latents=s.num_latents)
    return Circuit(graph, generator=generator)


def _clean(images: Tensor, known: Tensor) -> Observation:
    """Known pixels exactly, and nothing about the others."""
    return Observation(torch.zeros_like(images), 1e-9, images, known)
