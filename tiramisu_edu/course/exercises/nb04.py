"""Exercises of notebook 4, the backward pass: the pass down, a marginal, a pixel left out, two pixels together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...circuits.nodes import Node
from . import of_notebook

exercise = of_notebook(4)


def by_name(flows: Mapping[Node, Any]) -> dict[str, Any]:
    """The view of answers that have a number for every node."""
    return {n.name: value for n, value in flows.items()}


check_backward = exercise("backward", view=by_name)
check_marginal = exercise("marginal")
check_left_out = exercise("left_out")
check_pair = exercise("pair")
