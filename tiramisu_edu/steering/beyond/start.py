"""The circuit start: begin in the middle of the schedule, from what the circuit makes of the known pixels alone."""

from dataclasses import replace

import torch
from torch import Tensor

from ...checks import number
from ...circuits.circuit import Circuit
from ...diffusion.noise import Generators, standard_normal
from ...diffusion.schedule import Schedule
from ...errors import TiramisuError
from ..evidence import Codebook, Observation
from ..guide import check_size


def circuit_start(
    circuit: Circuit,
    codebook: Codebook,
    schedule: Schedule,
    image: Tensor,
    known: Tensor,
    *,
    begin: float = 0.6,
    generator: Generators,
) -> tuple[Schedule, Tensor]:
    """A shorter schedule, and the noisy images to begin it with; any sampler takes both.

        x_t = sqrt(a_t) E_PC[x_0 | known] + sqrt(1 - a_t) z,   t = round(begin T)

    The first steps of a sampler decide what the picture is about. Here the circuit decides, in one exact query, and
    those steps are not made. Beyond the paper.

    Args:
        schedule: T steps.
        image: (B, C, H, W); hidden pixels are not read.
        known: bool, broadcastable.
        begin: share of the steps that is left, in (0, 1].
        generator: of the noise.

    Returns:
        the first round(begin T) steps, and x_t (B, C, H, W) at the noisiest of them.

    Raises:
        TiramisuError: when `begin` is not in (0, 1].
    """
    if number("start, the share of the steps that is left,", begin, 0, 1) == 0:
        raise TiramisuError(f"the circuit start must leave a share of the steps in (0, 1], not {begin}")
    steps = max(1, round(begin * len(schedule)))
    variance = schedule.residual_variance
    shorter = replace(
        schedule,
        alpha_bar=schedule.alpha_bar[:steps],
        timesteps=schedule.timesteps[:steps],
        residual_variance=None if variance is None else variance[:steps],
    )
    seen = Observation.of_known(torch.where(known, image, 0.0), known)
    log_weights = codebook.log_weights(seen)
    check_size(image, log_weights, circuit)
    mean = codebook.mean(circuit.posterior_marginals(log_weights), seen)
    return shorter, shorter.add_noise(mean.to(image), steps - 1, standard_normal(image, generator))
