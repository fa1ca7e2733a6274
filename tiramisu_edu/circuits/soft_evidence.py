"""Evidence as weights: one non-negative number w_i(v) per variable and value, kept as its logarithm.

    what is known of X_i            w_i(v)
    its value x_i                   1[v = x_i]
    nothing                         1 for every v
    a noisy observation y           p(y given X_i = v)

Source: Pearl's virtual evidence; Liu, Niepert, Van den Broeck 2024, arXiv 2401.03349, equation 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from ..errors import EvidenceError

LogWeights: TypeAlias = Sequence[ArrayLike] | np.ndarray | None
"""log w_i(v): D rows of C_i numbers, −inf allowed; None stands for no evidence, all weights one."""


def log(p: ArrayLike) -> np.ndarray:
    """Natural logarithm with log 0 = −inf and no warning."""
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(p, dtype=np.float64))


def checked_evidence(log_weights: LogWeights, num_categories: Sequence[int]) -> list[np.ndarray]:
    """Soft evidence as D float64 rows of C_i log weights.

    Raises:
        EvidenceError: naming the variable whose row has a wrong length, NaN, +inf or only −inf.
    """
    if log_weights is None:
        return [np.zeros(count) for count in num_categories]
    log_w = [np.asarray(row, dtype=np.float64) for row in log_weights]
    if len(log_w) != len(num_categories):
        raise EvidenceError(f"log_weights has {len(log_w)} rows, the circuit {len(num_categories)} variables")
    for i, (row, count) in enumerate(zip(log_w, num_categories)):
        if row.shape != (count,):
            raise EvidenceError(f"variable {i} needs a row of {count} log weights, got shape {row.shape}")
        if np.any(np.isnan(row)) or np.any(row == np.inf):
            raise EvidenceError(f"the log weights of variable {i} contain NaN or +inf: {row.tolist()}")
        if np.all(row == -np.inf):
            raise EvidenceError(f"the weights of variable {i} are all zero, so no value of it is possible")
    return log_w
