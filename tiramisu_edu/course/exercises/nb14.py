"""Exercises of notebook 14, the capstone: fresh test pictures, a guide of one's own, a decision, a report."""

from __future__ import annotations

import math

import numpy as np

from ...diffusion.denoiser import Prediction
from ...diffusion.step import Step
from . import of_notebook

exercise = of_notebook(14)

check_fresh = exercise("fresh")
check_guide = exercise("guided")
check_choice = exercise("choose")
check_saved = exercise("saved")


def step_of(x_0: np.ndarray, x_t: np.ndarray, alpha_bar: float, image: np.ndarray, known: np.ndarray) -> Step:
    """A `Step` whose pictures are vectors, (D,) each: as small as an exercise needs it."""
    epsilon = (x_t - math.sqrt(alpha_bar) * x_0) / math.sqrt(1 - alpha_bar)
    return Step(0, 1, alpha_bar, x_t, Prediction(x_0, epsilon), math.nan, image, known)  # type: ignore[arg-type]
