"""Skylines: black-and-white pictures of houses, few enough to list, with a rule that a bad repair breaks.

A picture of S × H pixels shows H houses of 0 … S storeys, dark (0) before a bright sky (1). Houses do not float, and
the heights of neighbours differ by one storey at most. The first height is drawn from `first_height`, each further
one from `next_height`, given its left neighbour. Pixel i = row · H + column, row 0 on top.

    pictures, p = list_pictures(3, 4)              # 4096 pictures, of which 68 are possible
    q = conditional(pictures, p, picture, known)   # what is left of p once the known pixels are seen
    circuit = skyline_circuit(3, 4)                # the same p(x) with 94 edges
    circuit = skyline_layers(3, 4)                 # and once more on tensors
"""

from __future__ import annotations

import numpy as np
import torch

from ..circuits.circuit import Circuit
from ..circuits.nodes import Input, Node, Product, Sum
from ..circuits.reference import ReferenceCircuit
from ..circuits.regions import Region, RegionGraph
from ..errors import EvidenceError, TiramisuError

MAX_PIXELS = 16


def first_height(storeys: int) -> np.ndarray:
    """p(h_0), (S + 1,): each storey more is one part more, 1 : 2 : 3 : …"""
    parts = np.arange(1.0, storeys + 2)
    return parts / parts.sum()


def next_height(storeys: int) -> np.ndarray:
    """p(h_{k+1} | h_k), (S + 1, S + 1): the same with probability 1/2, otherwise one storey up or down."""
    steps = np.eye(storeys + 1, k=1) + np.eye(storeys + 1, k=-1)
    return np.eye(storeys + 1) / 2 + steps / steps.sum(1, keepdims=True) / 2


def probability(picture: np.ndarray) -> float:
    """p(x) = p(h_0) Π_k p(h_{k+1} | h_k), and 0 for a picture with a house that floats.

    Args:
        picture: (S, H) of 0, house, and 1, sky.
    """
    storeys = len(picture)
    heights = (picture == 0).sum(0)
    if np.any(np.diff(picture, axis=0) > 0):  # sky below a house
        return 0.0
    return float(first_height(storeys)[heights[0]] * np.prod(next_height(storeys)[heights[:-1], heights[1:]]))


def list_pictures(storeys: int, houses: int) -> tuple[np.ndarray, np.ndarray]:
    """Every picture in the order of counting, the last pixel fastest, (2^(S H), S H), and its p(x), (2^(S H),).

    Raises:
        TiramisuError: there are more than `MAX_PIXELS` pixels.
    """
    n = storeys * houses
    if n > MAX_PIXELS:
        raise TiramisuError(f"2^{n} pictures are too many to list (at most {MAX_PIXELS} pixels); ask the circuit")
    pictures = np.arange(2**n)[:, None] >> np.arange(n - 1, -1, -1) & 1
    return pictures, np.array([probability(x.reshape(storeys, houses)) for x in pictures])


def conditional(pictures: np.ndarray, p: np.ndarray, picture: np.ndarray, known: np.ndarray) -> np.ndarray:
    """p(x | known) = p(x) / Σ p(x') over the pictures x' that agree with the known pixels, 0 for the others.

    Args:
        pictures: (N, D), every picture.
        p: (N,) probabilities.
        picture: (D,); hidden pixels are not read.
        known: (D,) bool, True where the pixel is given.

    Returns:
        (N,) probabilities.

    Raises:
        EvidenceError: no possible picture agrees.
    """
    agrees = (pictures == picture)[:, known].all(1)
    total = p[agrees].sum()
    if total == 0:
        raise EvidenceError("no possible picture agrees with the known pixels")
    return np.where(agrees, p, 0) / total


def skyline_circuit(storeys: int, houses: int, wear: float = 0.0) -> ReferenceCircuit:
    """The same distribution as a circuit: a sum chooses the height of a house, a product draws its pixels and goes on.

    Args:
        storeys: S.
        houses: H.
        wear: probability of each pixel to have flipped since. With wear every picture is possible, and the circuit is
            no longer deterministic.
    """
    start, move = first_height(storeys), next_height(storeys)
    below: list[Node] = []  # p(houses k + 1, … given the height of house k), built from the last house backwards
    for k in reversed(range(houses)):
        dark, bright = ([_pixel(row * houses + k, value, wear) for row in range(storeys)] for value in (0, 1))
        columns: list[Node] = []
        for h in range(storeys + 1):
            pixels: list[Node] = [*bright[: storeys - h], *dark[storeys - h :]]
            columns.append(Product(pixels + below[h : h + 1], name=f"house {k}: {h}"))
        below = [_choice(columns, row, f"house {k} beside {h}") for h, row in enumerate(move)]
    return ReferenceCircuit(_choice(columns, start, "house 0"))


def skyline_layers(storeys: int, houses: int, *, dtype: torch.dtype = torch.float64) -> Circuit:
    """The same distribution as a layered circuit with fixed parameters, for whole batches of evidence.

    A column of pixels hangs from one region of S + 1 units, one per height, and a sum region per house chooses among
    them.

    Args:
        storeys, houses: S and H; pixel i = row · H + column.
        dtype: of the parameters and of all answers.
    """
    K = storeys + 1
    regions: list[Region] = []
    tables: list[np.ndarray] = []
    heights = np.arange(K)
    for k in reversed(range(houses)):
        later = [len(regions) - 1] if regions else []
        for row in range(storeys):
            bright = row < storeys - heights  # a house of height h is dark from row S − h on
            regions.append(Region((row * houses + k,), K))
            tables.append(np.stack([~bright, bright], -1).astype(float))  # (K, 2)
        column = tuple(range(len(regions) - storeys, len(regions)))
        scope = tuple(row * houses + j for row in range(storeys) for j in range(k, houses))
        regions.append(Region(scope, K if k else 1, ((*column, *later),)))
        tables.append(next_height(storeys) if k else first_height(storeys)[None])
    circuit = Circuit(RegionGraph(tuple(regions), storeys * houses, 2), dtype=dtype)
    for index, table in enumerate(tables):
        circuit.set_region_table(index, torch.from_numpy(table))
    return circuit.requires_grad_(False)


def _pixel(i: int, value: int, wear: float) -> Input:
    """The input of pixel i where the picture was drawn with `value`."""
    table = [1 - wear, wear] if value == 0 else [wear, 1 - wear]
    return Input(i, table, name=f"pixel {i} {('dark', 'bright')[value]}")


def _choice(columns: list[Node], weights: np.ndarray, name: str) -> Sum:
    """A sum over the columns of positive weight."""
    chosen = np.flatnonzero(weights)
    return Sum([columns[h] for h in chosen], weights[chosen], name=name)
