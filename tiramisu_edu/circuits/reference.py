"""The textbook: a circuit of scalar nodes and its recursions line by line, in float64.

Every faster engine is tested against it, and the first notebooks explain it. The equation stands above the statement,
symbol for symbol. One sample at a time; fw is kept as its logarithm, because a product of 64 small numbers leaves the
range of float64.

Letters: D variables, C_i categories of variable i, n a node, c its child, θ_{n,c} a sum's weight, f_n an
input's table, w_i(v) the weight the evidence gives to X_i = v. Sources: Choi, Vergari, Van den Broeck 2020
(the circuit); Liu, Niepert, Van den Broeck 2024, arXiv 2401.03349, equations 7 and 8 (EM, soft evidence).

    >>> leaf = lambda i, p: Input(i, [1 - p, p])
    >>> bright, dark = Product([leaf(0, 0.9), leaf(1, 0.8)]), Product([leaf(0, 0.2), leaf(1, 0.1)])
    >>> circuit = ReferenceCircuit(Sum([bright, dark], weights=[0.5, 0.5]))
    >>> round(circuit.likelihood([1, 1]), 6)  # 0.5 · 0.9 · 0.8 + 0.5 · 0.2 · 0.1
    0.37
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from ..errors import EvidenceError
from .nodes import Input, Node, NodeGraph, Product, Sum, children, parameters
from .soft_evidence import LogWeights, checked_evidence, log

__all__ = ["Input", "Node", "Product", "ReferenceCircuit", "Sum"]


def log_sum_exp(a: ArrayLike) -> float:
    """log Σ_k exp(a_k), exact also where every a_k is −1000 or −inf."""
    return float(np.logaddexp.reduce(a))


class ReferenceCircuit(NodeGraph):
    """A checked circuit and its exact queries. What it is built from, and what is refused: see `NodeGraph`."""

    def evidence(self, x: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """Hard evidence as weights: w_i(v) = 1[v = x_i], and 1 for every v where x_i = −1 (missing).

        Raises:
            EvidenceError: naming the variable whose value is out of range.
        """
        if len(x) != self.num_variables:
            raise EvidenceError(f"x has {len(x)} values, the circuit has {self.num_variables} variables")
        log_w = []
        for i, (value, count) in enumerate(zip(x, self.num_categories)):
            if value not in range(-1, count):
                raise EvidenceError(f"variable {i} is {value}: expected 0 … {count - 1}, or -1 if missing")
            log_w.append(np.zeros(count) if value == -1 else log(np.arange(count) == value))
        return log_w

    # The two passes.

    def forward(self, log_weights: LogWeights = None) -> dict[Node, float]:
        """log fw_n of every node, children before parents; at the root it is log Z(w)."""
        log_w = checked_evidence(log_weights, self.num_categories)
        log_fw: dict[Node, float] = {}
        for n in self.nodes:
            if isinstance(n, Input):
                # fw_n = Σ_v f_n(v) w_i(v)
                log_fw[n] = log_sum_exp(self._log_theta[n] + log_w[n.variable])
            elif isinstance(n, Product):
                # fw_n = Π_c fw_c
                log_fw[n] = sum(log_fw[c] for c in n.children)
            else:
                # fw_n = Σ_c θ_{n,c} fw_c
                log_fw[n] = log_sum_exp(self._log_theta[n] + [log_fw[c] for c in n.children])
        return log_fw

    def backward(self, log_fw: dict[Node, float]) -> dict[Node, float]:
        """bk_n of every node, parents before children: the probability that sampling p(x | w) reaches n.

        Raises:
            EvidenceError: when Z(w) = 0, so that there is no posterior.
        """
        self._check_possible(log_fw)
        # bk_root = 1
        bk = dict.fromkeys(self.nodes, 0.0)
        bk[self.root] = 1.0
        for n in reversed(self.nodes):
            # bk_c += F_{n,c}
            for c, flow in zip(children(n), self._flows_below(n, bk[n], log_fw)):
                bk[c] += flow
        return bk

    def edge_flows(self, log_fw: dict[Node, float], bk: dict[Node, float]) -> dict[Node, np.ndarray]:
        """F_{n,c} for every sum and product n: one number per child."""
        return {n: self._flows_below(n, bk[n], log_fw) for n in self.nodes if not isinstance(n, Input)}

    def _flows_below(self, n: Node, bk_n: float, log_fw: dict[Node, float]) -> np.ndarray:
        if not isinstance(n, Sum) or bk_n == 0:  # where bk_n = 0, fw_n may be 0 too: no 0 / 0
            return np.full(len(children(n)), bk_n)
        # F_{n,c} = bk_n θ_{n,c} fw_c / fw_n
        return bk_n * np.exp(self._log_theta[n] + [log_fw[c] for c in n.children] - log_fw[n])

    def _check_possible(self, log_fw: dict[Node, float]) -> None:
        if log_fw[self.root] == -np.inf:
            raise EvidenceError("Z(w) = 0: the circuit gives probability zero to all the evidence allows")

    # Queries.

    def log_partition(self, log_weights: LogWeights = None) -> float:
        """log Z(w) = log Σ_x p(x) Π_i w_i(x_i); an EvidenceError when Z(w) = 0."""
        log_fw = self.forward(log_weights)
        self._check_possible(log_fw)
        return log_fw[self.root]

    def log_likelihood(self, x: Sequence[int] | np.ndarray) -> float:
        """log p(x), summed over the values of missing variables (x_i = −1); −inf for an impossible x."""
        return self.forward(self.evidence(x))[self.root]

    def likelihood(self, x: Sequence[int] | np.ndarray) -> float:
        """p(x), summed over the values of missing variables (x_i = −1)."""
        return float(np.exp(self.log_likelihood(x)))

    def expected_counts(self, log_weights: LogWeights = None) -> tuple[dict[Node, np.ndarray], float]:
        """How often one draw of p(x | w) uses each parameter, and log Z(w).

        A sum counts its children, F_{n,c}; an input counts its values; a product has nothing to count.
        """
        log_w = checked_evidence(log_weights, self.num_categories)
        log_fw = self.forward(log_w)
        bk = self.backward(log_fw)
        counts: dict[Node, np.ndarray] = {}
        for n in self.nodes:
            if isinstance(n, Sum):
                counts[n] = self._flows_below(n, bk[n], log_fw)
            elif isinstance(n, Input) and bk[n] > 0:
                # count_n(v) = bk_n f_n(v) w_i(v) / fw_n
                counts[n] = bk[n] * np.exp(self._log_theta[n] + log_w[n.variable] - log_fw[n])
        return counts, log_fw[self.root]

    def posterior_marginals(self, log_weights: LogWeights = None) -> list[np.ndarray]:
        """p(X_i = v | w) for every variable and value at once: D rows of C_i probabilities."""
        marginals = [np.zeros(count) for count in self.num_categories]
        for n, count in self.expected_counts(log_weights)[0].items():
            # p(X_i = v | w) = Σ_{n: var(n) = i} bk_n f_n(v) w_i(v) / fw_n
            if isinstance(n, Input):
                marginals[n.variable] += count
        return marginals

    def sample(self, n: int, log_weights: LogWeights = None, *, rng: np.random.Generator) -> np.ndarray:
        """Draw n joint samples of p(x | w), top-down; (n, D) integers."""
        log_w = checked_evidence(log_weights, self.num_categories)
        log_fw = self.forward(log_w)
        self._check_possible(log_fw)

        def draw(node: Node) -> int:
            # value v ∝ f_n(v) w_i(v) at an input, child c ∝ θ_{n,c} fw_c at a sum
            cumulative = np.cumsum(np.exp(self._log_terms(node, log_w, log_fw) - log_fw[node]))
            return int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))

        return np.array([self._descend(draw) for _ in range(n)]).reshape(n, self.num_variables)

    def most_probable(self, log_weights: LogWeights = None) -> np.ndarray:
        """The state of max-product: (D,) integers.

        Exact for deterministic circuits, where at most one child of each sum is positive at any x. Otherwise
        each sum counts as its largest term, and the value found is a lower bound of max_x p(x) Π_i w_i(x_i).
        """
        log_w = checked_evidence(log_weights, self.num_categories)
        self.log_partition(log_w)  # Z(w) = 0 has no most probable state
        log_max: dict[Node, float] = {}
        for n in self.nodes:
            # max_n = Π_c max_c at a product, max_v f_n(v) w_i(v) at an input, max_c θ_{n,c} max_c at a sum
            terms = self._log_terms(n, log_w, log_max)
            log_max[n] = float(np.sum(terms) if isinstance(n, Product) else np.max(terms))
        return self._descend(lambda n: int(np.argmax(self._log_terms(n, log_w, log_max))))

    def _log_terms(self, n: Node, log_w: list[np.ndarray], log_value: dict[Node, float]) -> np.ndarray:
        """The logarithms that a node adds up or multiplies: one per value of an input, else one per child."""
        below = log_w[n.variable] if isinstance(n, Input) else np.array([log_value[c] for c in n.children])
        return below if isinstance(n, Product) else self._log_theta[n] + below

    def _descend(self, choose: Callable[[Node], int]) -> np.ndarray:
        """The state (D,) reached from the root; `choose` picks a sum's child and an input's value."""
        x = np.full(self.num_variables, -1)
        reached = [self.root]
        while reached:
            n = reached.pop()
            if isinstance(n, Input):
                x[n.variable] = choose(n)
            else:
                reached.extend(n.children if isinstance(n, Product) else [n.children[choose(n)]])
        return x

    # Learning.

    def em_step(self, data: Iterable[Sequence[int]], pseudocount: float = 0) -> tuple[ReferenceCircuit, float]:
        """One step of full-batch EM on rows x (−1 = missing); see `em_step_soft`."""
        return self.em_step_soft([self.evidence(x) for x in data], pseudocount)

    def em_step_soft(self, rows: Sequence[LogWeights], pseudocount: float = 0) -> tuple[ReferenceCircuit, float]:
        """One step of full-batch EM on soft evidence, log_weights of one sample each.

        E-step: expected counts summed over the rows. M-step, with λ = `pseudocount` and m parameters at n:
        θ_{n,k} = (count_k + λ/m) / (Σ_k count_k + λ). Parameters that no row reaches stay as they are.

        Returns:
            The new circuit, and the mean of log Z(w) over the rows under the old one.
        """
        if not len(rows):
            raise EvidenceError("EM needs at least one row of data")
        total = {n: np.zeros(len(parameters(n))) for n in self.nodes}
        log_z = 0.0
        for k, row in enumerate(rows):
            try:
                counts, log_z_row = self.expected_counts(row)
            except EvidenceError as error:
                raise EvidenceError(f"row {k} of the data: {error}") from None
            log_z += log_z_row
            for n, count in counts.items():
                total[n] += count
        updated: dict[Node, np.ndarray] = {}
        for group in self.tied_groups():
            count = np.sum([total[n] for n in group], axis=0)
            denominator = count.sum() + pseudocount
            if denominator > np.finfo(np.float64).tiny:
                updated.update(dict.fromkeys(group, (count + pseudocount / len(count)) / denominator))
        return self._with_parameters(updated), log_z / len(rows)

    def _with_parameters(self, updated: dict[Node, np.ndarray]) -> ReferenceCircuit:
        """The same circuit with new parameters where `updated` has them."""
        new: dict[Node, Node] = {}
        for n in self.nodes:
            if isinstance(n, Input):
                new[n] = replace(n, probabilities=updated.get(n, n.probabilities))
            elif isinstance(n, Product):
                new[n] = replace(n, children=[new[c] for c in n.children])
            else:
                new[n] = replace(n, children=[new[c] for c in n.children], weights=updated.get(n, n.weights))
        return ReferenceCircuit(new[self.root])
