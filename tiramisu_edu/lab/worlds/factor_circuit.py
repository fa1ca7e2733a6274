"""A Bayesian network as a probabilistic circuit: recursive conditioning, written down as nodes.

Deciding one factor after the other gives sums whose weights are the rows of its table, with an indicator for the
value; what becomes independent under the decisions made so far is split by a product. Sub-problems that agree on
the decisions they depend on are one node, so the circuit stays small where the network is close to a tree, and it is
deterministic: every complete state lights one branch. Rules are the edges that are not there.

Sources: Darwiche 2001, "Recursive conditioning"; Darwiche 2003, "A differential approach to inference in Bayesian
networks", which reads the result as an arithmetic circuit.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...circuits.nodes import Node, Product, Sum, indicator
from ...circuits.reference import ReferenceCircuit
from .factors import FactorModel


def factor_circuit(model: FactorModel) -> ReferenceCircuit:
    """The circuit whose variables are the factors of a model, in its order: p(x) = exp model.log_probability(x).

    Args:
        model: a network. The nodes number about the sum, over its factors, of the joint values of the earlier factors
            that later ones still depend on.

    Returns: a smooth, decomposable, deterministic circuit over len(model) variables.

        >>> from tiramisu_edu.lab.worlds.factors import factor
        >>> shirt = factor("shirt", ("red", "blue"))
        >>> hat = factor("hat", ("none", "red", "blue"), [shirt], lambda colour: {"none": 0.5, colour: 0.5})
        >>> circuit = factor_circuit(FactorModel([shirt, hat]))
        >>> circuit.likelihood([0, 1]), circuit.likelihood([0, 2])  # a red shirt with a red hat, with a blue one
        (0.25, 0.0)
    """
    parents = [[model.index(name) for name in each.parents] for each in model.factors]
    made: dict[tuple[frozenset[int], tuple[tuple[int, int], ...]], Node] = {}

    def solve(open_factors: frozenset[int], decided: Mapping[int, int]) -> list[Node]:
        """One node for each group of open factors that the decisions separate from the others."""
        return [decide(group, decided) for group in _groups(open_factors, parents)]

    def decide(group: frozenset[int], decided: Mapping[int, int]) -> Node:
        needed = {p for f in group for p in parents[f]} - group
        key = (group, tuple(sorted((p, decided[p]) for p in needed)))
        if key not in made:
            made[key] = branch(group, dict(key[1]))
        return made[key]

    def branch(group: frozenset[int], decided: Mapping[int, int]) -> Node:
        """Σ_v p(X_f = v | parents) 1[x_f = v] p(rest | X_f = v, decided), f the first factor of the group."""
        f = min(group)  # parents come first: those of f are decided
        name = model.names[f]
        row = model.factors[f].table[tuple(decided[p] for p in parents[f])]
        possible = row.nonzero()[:, 0].tolist()
        cases: list[Node] = []
        for v in possible:
            leaf = indicator(f, v, len(row), name=f"{name} = {model.factors[f].values[v]}")
            rest = solve(group - {f}, {**decided, f: v})
            cases.append(Product([leaf, *rest]) if rest else leaf)
        return Sum(cases, row[possible].tolist(), name=name)

    roots = solve(frozenset(range(len(model))), {})
    root = roots[0] if len(roots) == 1 else Product(roots, name="independent groups")
    return ReferenceCircuit(root, model.cardinalities)


def _groups(open_factors: frozenset[int], parents: list[list[int]]) -> list[frozenset[int]]:
    """Open factors that are joined by tables: a child with its open parents, and so on."""
    groups: list[frozenset[int]] = []
    for f in sorted(open_factors):
        family = frozenset([f, *parents[f]]) & open_factors
        joined = [group for group in groups if group & family]
        groups = [group for group in groups if not group & family] + [family.union(*joined)]
    return groups
