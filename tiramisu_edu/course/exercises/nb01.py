"""Exercises of notebook 1, the damaged picture: conditioning, entropy, the denoiser's prediction, pasting, distance."""

from __future__ import annotations

import numpy as np

from . import of_notebook

exercise = of_notebook(1)

_STRIPS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
_P = np.array([0.4, 0.1, 0.2, 0.3])


# 1: what a repair is.

check_condition = exercise(
    "condition",
    "return p(x | known) for every row of pictures",
    cases={
        "the left pixel is seen": (_STRIPS, _P, np.array([1, 0]), np.array([True, False])),
        "both pixels are seen": (_STRIPS, _P, np.array([0, 1]), np.array([True, True])),
        "nothing is seen": (_STRIPS, _P, np.array([0, 0]), np.array([False, False])),
    },
)


# 2: how much is open.

check_entropy = exercise(
    "entropy",
    "return -Σ q log2 q, in bits",
    cases={
        "a fair coin": (np.array([0.5, 0.5]),),
        "unequal odds": (np.array([0.7, 0.2, 0.1]),),
        "two of four are possible": (np.array([0.0, 0.25, 0.75, 0.0]),),
        "nothing is open": (np.array([0.0, 1.0]),),
    },
)


# 3: the denoiser.

check_predict = exercise(
    "predict",
    "return E[x_0 | x_t], the mean of the pictures weighted by p(x) w(x)",
    cases={
        "half signal": (np.array([0.4, -0.3]), 0.5, 2.0 * _STRIPS - 1, _P),
        "mostly noise": (np.array([1.5, 0.7]), 0.05, 2.0 * _STRIPS - 1, _P),
        "mostly signal": (np.array([0.1, -0.9]), 0.9, 2.0 * _STRIPS - 1, _P),
    },
)


# 4: pasting.

_DRAWN, _SEEN = np.array([0.3, -0.8, 0.6, -0.1]), np.array([1.0, -1.0, -1.0, 1.0])

check_paste = exercise(
    "paste",
    "return the known pixels of the picture and the drawn pixels elsewhere",
    cases={
        "the left half is known": (_DRAWN, _SEEN, np.array([True, True, False, False])),
        "nothing is known": (_DRAWN, _SEEN, np.zeros(4, dtype=bool)),
        "everything is known": (_DRAWN, _SEEN, np.ones(4, dtype=bool)),
    },
)


# 5: how far off.

check_gap = exercise(
    "total_variation",
    "return half the sum of |a - b|",
    cases={
        "the same": (np.array([0.25, 0.75]), np.array([0.25, 0.75])),
        "a little apart": (np.array([0.5, 0.3, 0.1, 0.1]), np.array([0.3, 0.1, 0.3, 0.3])),
        "nothing in common": (np.array([0.4, 0.6, 0.0]), np.array([0.0, 0.0, 1.0])),
    },
)
