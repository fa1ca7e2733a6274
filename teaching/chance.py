"""Random arguments for exercises: what a check tries beside the cases made by hand.

Numbers are rounded, since every case is recorded; distributions still add up to one.
"""

from __future__ import annotations

import numpy as np

from tiramisu_edu.circuits.nodes import Input, Node, Product, Sum
from tiramisu_edu.circuits.reference import ReferenceCircuit
from tiramisu_edu.circuits.soft_evidence import log

DENOMINATOR = 20  # probabilities are multiples of 1/20


def simplex(rng: np.random.Generator, k: int, zeros: bool = True) -> np.ndarray:
    """A distribution over k values, (k,); some may be 0 unless `zeros` is False."""
    counts = rng.multinomial(DENOMINATOR - (0 if zeros else k), rng.dirichlet(np.full(k, 1.5)))
    return (counts + (0 if zeros else 1)) / DENOMINATOR


def simplices(rng: np.random.Generator, rows: int, k: int, zeros: bool = True) -> np.ndarray:
    """Several of them, (rows, k)."""
    return np.array([simplex(rng, k, zeros) for _ in range(rows)])


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Numbers of a bell curve with two digits."""
    return rng.normal(size=shape).round(2)


def levels(rng: np.random.Generator, T: int) -> np.ndarray:
    """ᾱ of T steps, rising, (T,)."""
    return np.sort(rng.choice(np.arange(1, 20), T, replace=False)) / 20


def circuit(rng: np.random.Generator, size: int, zeros: bool = False, values: int = 3) -> ReferenceCircuit:
    """Up to `size` + 1 variables with 2 to `values` values; nodes with several parents, sums below sums, products below
    products, two or three children."""
    D = int(rng.integers(1 if size == 1 else 2, size + 2))
    C = rng.integers(2, values + 1, D)
    made: dict[tuple[int, ...], list[Node]] = {}

    def over(scope: tuple[int, ...], depth: int = 0) -> Node:
        """A node over the scope, an old one or a new one."""
        known = made.setdefault(scope, [])
        if len(known) > 1 and rng.random() < 0.5:
            return known[rng.integers(len(known))]
        known.append(fresh(scope, depth))
        return known[-1]

    def fresh(scope: tuple[int, ...], depth: int) -> Node:
        wide = len(scope) > 1
        if (depth < 3 and rng.random() < (0.55 if wide else 0.25)) or (depth == 0 and size > 1):
            below = list(dict.fromkeys(over(scope, depth + 1) for _ in range(rng.integers(2, 4))))
            return Sum(below, simplex(rng, len(below), zeros))
        if not wide:
            return Input(scope[0], simplex(rng, int(C[scope[0]]), zeros))
        parts = int(rng.integers(2, min(len(scope), 3) + 1))
        owner = np.concatenate([np.arange(parts), rng.integers(parts, size=len(scope) - parts)])
        return Product([over(tuple(np.array(scope)[owner == k].tolist()), depth + 1) for k in range(parts)])

    return ReferenceCircuit(over(tuple(range(D))))


def picture(rng: np.random.Generator, of: ReferenceCircuit, hidden: float = 0.4) -> list[int]:
    """A value for each variable, −1 where it is hidden; possible under the circuit."""
    x = of.sample(1, rng=rng)[0]
    return [-1 if rng.random() < hidden else int(v) for v in x]


def weights(rng: np.random.Generator, of: ReferenceCircuit) -> list[np.ndarray]:
    """Soft evidence: a row of weights for each variable, one of them seen for certain now and then."""
    x = of.sample(1, rng=rng)[0]
    return [
        np.eye(c)[v] if rng.random() < 0.25 else (0.05 + rng.random(c)).round(2) for v, c in zip(x, of.num_categories)
    ]


def distribution(p: np.ndarray, zeros: bool = True) -> bool:
    """Whether the rows of p are distributions; `zeros` says whether a probability may be 0."""
    return bool((p >= 0).all() and (zeros or (p > 0).all()) and np.allclose(p.sum(-1), 1, atol=1e-6) and p.size)


def shaped(letters: str, *arrays: np.ndarray) -> bool:
    """Whether arrays have the shapes written with a letter for each length: "KM MB" for the factors of a product."""
    lengths: dict[str, int] = {}
    for names, array in zip(letters.split(), arrays):
        if array.ndim != len(names) or any(lengths.setdefault(k, n) != n for k, n in zip(names, array.shape)):
            return False
    return min(lengths.values()) > 0


def rising(alpha_bar: np.ndarray) -> bool:
    """Whether ᾱ rises from step to step, between 0 and 1."""
    return bool((np.diff([0, *alpha_bar, 1]) > 0).all())


def picture_fits(of: ReferenceCircuit, x: list[int]) -> bool:
    """Whether x is a picture of the circuit, possible under it, with −1 for what is hidden."""
    inside = len(x) == of.num_variables and all(-1 <= v < c for v, c in zip(x, of.num_categories))
    return inside and of.likelihood(x) > 0


def weights_fit(of: ReferenceCircuit, w: list[np.ndarray]) -> bool:
    """Whether w is evidence for the circuit, and possible under it."""
    inside = len(w) == of.num_variables and all(len(row) == c and min(row) >= 0 for row, c in zip(w, of.num_categories))
    return inside and bool(np.isfinite(of.forward([log(row) for row in w])[of.root]))


def shared(of: ReferenceCircuit, *_: object) -> bool:
    """Whether a node has several parents."""
    counts: dict[Node, int] = {}
    for n in of.nodes:
        for c in () if isinstance(n, Input) else n.children:
            counts[c] = counts.get(c, 0) + 1
    return max(counts.values(), default=0) > 1


def wide(of: ReferenceCircuit, *_: object) -> bool:
    """Whether a node has more than two children."""
    return any(len(n.children) > 2 for n in of.nodes if not isinstance(n, Input))


def many_valued(of: ReferenceCircuit, *_: object) -> bool:
    """Whether a variable has more than two values."""
    return max(of.num_categories) > 2


def stacked(of: ReferenceCircuit, *_: object) -> bool:
    """Whether a sum lies below a sum, or a product below a product."""
    return any(type(c) is type(n) for n in of.nodes if not isinstance(n, Input) for c in n.children)


CIRCUIT_TRAITS = {  # of cases whose first argument is a circuit
    "a node that has several parents": shared,
    "a node of more than two children": wide,
    "a variable of more than two values": many_valued,
    "a sum below a sum, or a product below a product": stacked,
}
