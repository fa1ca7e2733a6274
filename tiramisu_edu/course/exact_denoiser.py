"""The exact denoiser of a circuit's own pictures: noise on pixels is soft evidence, so two passes give E[x_0 | x_t].

Whatever another denoiser predicts for noisy pictures drawn from the circuit can be compared with the best prediction
there is.

    exact = circuit_denoiser(world.circuit, world.codebook)
    exact(x_t, 400).x_0    # no denoiser has a smaller expected squared error on the circuit's pictures
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..circuits.circuit import Circuit
from ..diffusion.denoiser import Denoiser
from ..diffusion.schedule import Schedule
from ..errors import TiramisuError
from ..steering.evidence import Codebook, Observation


class CircuitPrediction(nn.Module):
    """E[x_0 | x_t] under a circuit over pixels or patches, as the network of a `Denoiser`.

    Args:
        circuit: p(x).
        codebook: what each category looks like.
        schedule: ᾱ by time.
    """

    def __init__(self, circuit: Circuit, codebook: Codebook, schedule: Schedule) -> None:
        super().__init__()
        self.circuit, self.codebook, self.schedule = circuit, codebook, schedule

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """(B, C, H, W), at one time for all pictures.

        Raises:
            TiramisuError: the pictures are at different times.
        """
        times = t.unique()
        if len(times) != 1:
            raise TiramisuError(f"expected one time for all pictures, got {times.tolist()}")
        alpha_bar = float(self.schedule.alpha_bar[times])
        nothing_known = torch.zeros_like(x_t, dtype=torch.bool)
        seen = Observation(x_t, alpha_bar, x_t, nothing_known)
        marginals = self.circuit.posterior_marginals(self.codebook.log_weights(seen))
        return self.codebook.moments(marginals, seen).mean.to(x_t)


def circuit_denoiser(circuit: Circuit, codebook: Codebook, schedule: Schedule | None = None) -> Denoiser:
    """The exact denoiser of p(x); `Schedule.cosine()` if no full schedule is given."""
    schedule = Schedule.cosine() if schedule is None else schedule
    return Denoiser(CircuitPrediction(circuit, codebook, schedule), schedule, "sample").eval()
