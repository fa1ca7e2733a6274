"""What a circuit is: three kinds of node, and the conditions that make its queries exact.

    input    p_n(x) = f_n(x_i)                one variable i = var(n), a table of C_i values
    product  p_n(x) = Π_{c in in(n)} p_c(x)   independence: disjoint scopes (decomposable)
    sum      p_n(x) = Σ_{c in in(n)} θ_{n,c} p_c(x)   a mixture: equal scopes (smooth)

How a circuit is computed stands in `reference.py`. Source: Choi, Vergari, Van den Broeck,
"Probabilistic Circuits", 2020, sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import networkx as nx
import numpy as np

from ..errors import StructureError
from .soft_evidence import log

Row: TypeAlias = Sequence[float] | np.ndarray
SUM_TOLERANCE = 1e-6  # how far probabilities may be from summing to one: float32 tables pass


@dataclass(frozen=True, eq=False)
class Input:
    """Leaf over one variable: p_n(x) = f_n(x_i) with i = `variable` and f_n(v) = `probabilities[v]`.

    `name` appears in error messages and drawings. Nodes with the same non-empty `tie` share their parameters:
    expectation maximisation adds their counts.
    """

    variable: int
    probabilities: Row
    name: str = ""
    tie: str = field(default="", repr=False)


@dataclass(frozen=True, eq=False)
class Product:
    """Independence: p_n(x) = Π_c p_c(x)."""

    children: Sequence[Node] = field(repr=False)
    name: str = ""


@dataclass(frozen=True, eq=False)
class Sum:
    """Mixture: p_n(x) = Σ_c θ_{n,c} p_c(x) with θ_{n,c} = `weights[c]`, in the order of `children`."""

    children: Sequence[Node] = field(repr=False)
    weights: Row = ()
    name: str = ""
    tie: str = field(default="", repr=False)


Node: TypeAlias = Input | Product | Sum


def children(n: Node) -> Sequence[Node]:
    """in(n): the children of a node, none for an input."""
    return () if isinstance(n, Input) else n.children


def parameters(n: Node) -> Row:
    """The probabilities a node owns: f_n of an input, θ_n of a sum, none for a product."""
    if isinstance(n, Input):
        return n.probabilities
    return n.weights if isinstance(n, Sum) else ()


def children_before_parents(root: Node) -> list[Node]:
    """Each node once, every child before its parents.

    Raises:
        StructureError: when the graph has a cycle; the message names a node on it.
    """
    graph, waiting = nx.DiGraph(), [root]
    graph.add_node(root)
    while waiting:
        n = waiting.pop()
        waiting.extend(c for c in children(n) if c not in graph)
        graph.add_edges_from((n, c) for c in children(n))
    if not nx.is_directed_acyclic_graph(graph):
        n = nx.find_cycle(graph)[0][0]
        raise StructureError(f"{_kind(n)} '{n.name}' is its own descendant: a circuit has no cycles")
    return list(nx.dfs_postorder_nodes(graph, root))


def scopes(order: Sequence[Node]) -> dict[Node, frozenset[int]]:
    """scope(n), the variables under each node: var(n) of an input, else the union over the children."""
    scope: dict[Node, frozenset[int]] = {}
    for n in order:
        below = [scope[c] for c in children(n)]
        scope[n] = frozenset([n.variable]) if isinstance(n, Input) else frozenset().union(*below)
    return scope


def labels(order: Sequence[Node]) -> dict[Node, str]:
    """What messages call each node: its kind and its name, or its place in the order."""
    return {n: f"{_kind(n)} '{n.name or f'#{k}'}'" for k, n in enumerate(order)}


def smoothness_error(order: Sequence[Node]) -> str | None:
    """The first sum whose children differ in scope, described; None when the circuit is smooth."""
    scope, label = scopes(order), labels(order)
    for n in order:
        for c in children(n) if isinstance(n, Sum) else ():
            first = children(n)[0]
            if scope[c] != scope[first]:
                return (
                    f"{label[n]} is not smooth: its child {label[first]} is over variables "
                    f"{sorted(scope[first])}, its child {label[c]} over {sorted(scope[c])}; "
                    "multiply the smaller child by an input over what it lacks"
                )
    return None


def decomposability_error(order: Sequence[Node]) -> str | None:
    """The first product whose children share a variable, described; None when decomposable."""
    scope, label = scopes(order), labels(order)
    for n in order:
        first: dict[int, Node] = {}  # the child in which a variable was met first
        for c in children(n) if isinstance(n, Product) else ():
            if shared := scope[c] & first.keys():
                i = min(shared)
                return (
                    f"{label[n]} is not decomposable: its children {label[first[i]]} and {label[c]} "
                    f"both contain variable {i}; the factors of a product must not share variables"
                )
            first |= dict.fromkeys(scope[c], c)
    return None


def check_parameters(order: Sequence[Node]) -> None:
    """Weights and tables are probabilities, of the right length, and equal where they are tied.

    Raises:
        StructureError: naming the node.
    """
    label = labels(order)
    tied: dict[tuple[type, str], Node] = {}
    for n in order:
        if not isinstance(n, Input) and not len(n.children):
            raise StructureError(f"{label[n]} has no children")
        if isinstance(n, Product):
            continue
        theta = np.asarray(parameters(n), dtype=np.float64)
        if isinstance(n, Sum) and theta.shape != (len(n.children),):
            raise StructureError(f"{label[n]} has {len(n.children)} children but {theta.size} weights")
        if theta.ndim != 1 or not np.all(np.isfinite(theta)) or np.any(theta < 0):
            raise StructureError(f"{label[n]} needs a row of finite numbers >= 0, got {theta.tolist()}")
        if abs(theta.sum() - 1) > SUM_TOLERANCE:
            raise StructureError(f"the probabilities of {label[n]} sum to {theta.sum():.9g}, not to 1")
        twin = tied.setdefault((type(n), n.tie), n) if n.tie else n
        if not np.array_equal(parameters(twin), theta):
            raise StructureError(f"{label[n]} is tied to {label[twin]} but their parameters differ")


def count_categories(order: Sequence[Node]) -> list[int]:
    """C_i of every variable 0 … D−1, from the tables.

    Raises:
        StructureError: when two tables disagree or a variable has no input.
    """
    label = labels(order)
    inputs = [n for n in order if isinstance(n, Input)]
    found = {n.variable: len(n.probabilities) for n in reversed(inputs)}  # of a variable the first input counts
    if missing := set(range(max(found, default=0) + 1)) ^ found.keys():
        raise StructureError(f"variables are numbered 0 … D−1 and each has an input; check {sorted(missing)}")
    for n in inputs:
        if len(n.probabilities) != found[n.variable]:
            raise StructureError(
                f"{label[n]} has a table of {len(n.probabilities)} values, but variable {n.variable} "
                f"has {found[n.variable]} categories"
            )
    return [found[i] for i in range(len(found))]


class NodeGraph:
    """The nodes under a root, checked: what `ReferenceCircuit` is before anything is computed.

    Args:
        root: the root node; nodes below may have several parents.
        check_structure: False lets through a graph that is not smooth or not decomposable, to see what goes
            wrong. Its queries are then not to be trusted.

    Raises:
        StructureError: a cycle, weights that are not probabilities, a sum that is not smooth, a product that
            is not decomposable. The message names the node.
    """

    def __init__(self, root: Node, *, check_structure: bool = True) -> None:
        self.root = root
        self.nodes = children_before_parents(root)
        check_parameters(self.nodes)
        self.num_categories = count_categories(self.nodes)
        self.num_variables = len(self.num_categories)
        self._log_theta = {n: log(parameters(n)) for n in self.nodes}
        problem = smoothness_error(self.nodes) or decomposability_error(self.nodes)
        if check_structure and problem:
            raise StructureError(problem)

    @property
    def is_smooth(self) -> bool:
        """Whether the children of every sum share one scope."""
        return smoothness_error(self.nodes) is None

    @property
    def is_decomposable(self) -> bool:
        """Whether the children of every product have disjoint scopes."""
        return decomposability_error(self.nodes) is None

    @property
    def num_nodes(self) -> int:
        """Nodes, shared ones counted once."""
        return len(self.nodes)

    @property
    def num_edges(self) -> int:
        """Edges: the cost of one pass."""
        return sum(len(children(n)) for n in self.nodes)

    @property
    def num_parameters(self) -> int:
        """Entries of all weights and tables, tied ones counted once."""
        return sum(len(parameters(group[0])) for group in self.tied_groups())

    def tied_groups(self) -> list[list[Node]]:
        """The inputs and sums, those that share their parameters in one group."""
        groups: dict[object, list[Node]] = {}
        for n in self.nodes:
            if not isinstance(n, Product):
                groups.setdefault((type(n), n.tie) if n.tie else n, []).append(n)
        return list(groups.values())


def _kind(n: Node) -> str:
    return type(n).__name__.lower()
