"""Brute force: the whole table of p(x) Π_i w_i(x_i), one entry per state, for circuits small enough.

The table is filled from the definition of p_n(x) alone and shares no code with the two passes of `reference.py`. The
tests compare every exact query of the package with it. It has Π_i C_i entries: 65 536 for 16 binary pixels, 10^77 for
256.

    >>> from tiramisu_edu.circuits.reference import Input, ReferenceCircuit
    >>> joint = brute_force_joint(ReferenceCircuit(Input(0, [0.25, 0.75])))
    >>> joint.probabilities.tolist()
    [0.25, 0.75]
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import EvidenceError
from .nodes import Input, Node, NodeGraph, Product, Sum
from .soft_evidence import LogWeights, checked_evidence, log

MAX_STATES = 2**22


def num_states(circuit: NodeGraph) -> int:
    """Π_i C_i, the number of entries of the table."""
    return math.prod(circuit.num_categories)


def enumerate_states(circuit: NodeGraph) -> np.ndarray:
    """All states in the order of counting, the last variable fastest: (states, D) integers."""
    _check_size(circuit)
    return np.stack(np.unravel_index(np.arange(num_states(circuit)), circuit.num_categories), axis=1)


def node_tables(circuit: NodeGraph) -> dict[Node, np.ndarray]:
    """p_n(x) of every node: axis i has length C_i, or 1 where variable i is not in the scope of n."""
    _check_size(circuit)
    tables: dict[Node, np.ndarray] = {}
    for n in circuit.nodes:
        if isinstance(n, Input):
            shape = [1] * circuit.num_variables
            shape[n.variable] = -1
            tables[n] = np.asarray(n.probabilities, dtype=np.float64).reshape(shape)
        elif isinstance(n, Product):
            tables[n] = math.prod((tables[c] for c in n.children), start=np.ones(1))
        else:
            tables[n] = sum((t * tables[c] for t, c in zip(n.weights, n.children)), start=np.zeros(1))
    return tables


@dataclass(frozen=True)
class Joint:
    """The table and what is read off it by summing and searching.

    Attributes:
        log_table: log p(x) Π_i w_i(x_i), shape (C_0, …, C_{D−1}): axis i is variable i.
    """

    log_table: np.ndarray

    @property
    def log_partition(self) -> float:
        """log Z(w), the logarithm of the sum of all entries; −inf when all are zero."""
        return float(np.logaddexp.reduce(self.log_table, axis=None))

    @property
    def probabilities(self) -> np.ndarray:
        """p(x | w), shape (C_0, …, C_{D−1})."""
        if self.log_partition == -np.inf:
            raise EvidenceError("Z(w) = 0: no state that the evidence allows has positive probability")
        return np.exp(self.log_table - self.log_partition)

    def marginals(self) -> list[np.ndarray]:
        """p(X_i = v | w): D rows of C_i probabilities."""
        return [self.marginal(i) for i in range(self.log_table.ndim)]

    def marginal(self, *variables: int) -> np.ndarray:
        """p(X_i, X_j, … | w), one axis per variable in the order given; `marginal(i, i)` is diagonal."""
        distinct = sorted(set(variables))
        others = tuple(k for k in range(self.log_table.ndim) if k not in distinct)
        table = self.probabilities.sum(axis=others)
        if len(distinct) < len(variables):
            return np.diag(table)
        return np.transpose(table, [distinct.index(i) for i in variables])

    def conditional(self, variable: int, known: Mapping[int, int]) -> np.ndarray:
        """p(X_i = v | known values, w): C_i probabilities."""
        index: tuple[slice | int, ...] = (slice(None), *known.values())
        table = self.marginal(variable, *known)[index]
        if not table.sum() > 0:
            raise EvidenceError(f"no state with {dict(known)} has positive probability")
        return table / table.sum()

    def most_probable(self) -> np.ndarray:
        """argmax_x p(x | w), the first in the order of counting if several are equal: (D,) integers."""
        return np.array(np.unravel_index(np.argmax(self.log_table), self.log_table.shape))


def brute_force_joint(circuit: NodeGraph, log_weights: LogWeights = None) -> Joint:
    """The table of p(x) Π_i w_i(x_i) over all states.

    Args:
        circuit: a circuit of at most `MAX_STATES` states.
        log_weights: log w_i(v), D rows of C_i numbers; None means all weights are one.
    """
    log_w = checked_evidence(log_weights, circuit.num_categories)
    log_table = np.broadcast_to(log(node_tables(circuit)[circuit.root]), circuit.num_categories)
    for i, row in enumerate(log_w):
        log_table = log_table + row.reshape([-1 if k == i else 1 for k in range(circuit.num_variables)])
    return Joint(log_table)


def is_deterministic(circuit: NodeGraph) -> bool:
    """Whether at every state at most one child of each sum is positive, found by trying every state."""
    tables = node_tables(circuit)
    for n in circuit.nodes:
        if isinstance(n, Sum):
            positive = sum((np.asarray(t * tables[c] > 0, dtype=int) for t, c in zip(n.weights, n.children)))
            if np.any(positive > 1):
                return False
    return True


def _check_size(circuit: NodeGraph) -> None:
    if num_states(circuit) > MAX_STATES:
        raise EvidenceError(
            f"{num_states(circuit)} states are too many to list (at most {MAX_STATES}): "
            "use the queries of the circuit, which need no table"
        )
