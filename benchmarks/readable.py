"""The circuit as one would write it first: a loop over regions, logsumexp over products, gradients by autograd.

    u_k = logsumexp_m (log theta[k, m] + v_m)        v_m = sum of the m-th units of a partition's children

The same region graph and parameters as `Circuit`, in a page of plain torch. It materialises (K, M, B) per region, which
is what the engine avoids; it is the reference that benchmarks divide by.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tiramisu_edu.circuits.circuit import Circuit


class Readable(nn.Module):
    """The circuit with its parameters as logits, so that any optimiser of torch can train it."""

    def __init__(self, circuit: Circuit):
        super().__init__()
        self.graph = circuit.graph
        self.order = sorted(range(len(self.graph.regions)), key=lambda i: self.graph.heights[i])
        own = [i for i in self.order if self.graph.regions[i].tied_to is None]
        tables = {str(i): nn.Parameter(circuit.region_table(i).detach().log()) for i in own}
        self.logits = nn.ParameterDict(tables)

    def forward(self, x: Tensor) -> Tensor:
        """log p(x) of complete x (B, D)."""
        return self._log_partition(lambda log_f, i: log_f[:, x[:, i]])

    def log_partition(self, log_weights: Tensor) -> Tensor:
        """log Z(w) of soft evidence (B, D, C); its gradient are the marginals."""
        return self._log_partition(lambda log_f, i: torch.logsumexp(log_f[:, None] + log_weights[None, :, i], -1))

    def _log_partition(self, log_input) -> Tensor:
        log_u: dict[int, Tensor] = {}  # per region (K, B)
        for index in self.order:
            region = self.graph.regions[index]
            owner = index if region.tied_to is None else region.tied_to
            log_theta = torch.log_softmax(self.logits[str(owner)], -1)
            if region.is_input:
                log_u[index] = log_input(log_theta, region.scope[0])
                continue
            log_v = torch.cat([torch.stack([log_u[c] for c in p]).sum(0) for p in region.partitions])
            log_u[index] = torch.logsumexp(log_theta[:, :, None] + log_v, 1)
        return log_u[len(self.graph.regions) - 1][0]
