"""The readable twins of the Triton kernels: the same sums in float64, every term written out; and random levels."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.engines.plan import Level, compile_plan


@dataclass(frozen=True)
class Case:
    """A level with its inputs: messages of its children, parameters (owners, K, M), flows (R, K, B) from above."""

    level: Level
    constant: int  # the row of log 1 among the children's messages
    units: Tensor  # (rows, J, B)
    scales: Tensor  # (rows, 1, B)
    theta: Tensor
    flow: Tensor

    @classmethod
    def random(cls, R, K, P, J, S, B, *, kind, is_shared, seed, is_input=False) -> Case:
        """Numbers by kind: plain, peaked (terms far below the range of floats), impossible (many zeros).

        With `is_shared` regions share children and parameters, else every child has one parent.
        """
        g = torch.Generator().manual_seed(seed)
        N, spread = R * P, 20.0 if kind == "peaked" else 1.0
        rows = max(2, N) if is_shared else S * N
        anyone, once = torch.randint(rows, (S, N), generator=g), torch.randperm(S * N, generator=g).view(S, N)
        children = anyone if is_shared else once
        if S > 1:
            children[-1, ::2] = rows  # partitions with fewer children than others
        units = _rounded(spread * torch.randn(rows + 1, J, B, generator=g))
        log_theta = spread * torch.randn(1 if is_shared else R, K, P * J, generator=g, dtype=torch.float64)
        theta = log_theta.softmax(-1)
        if kind == "impossible":
            units[torch.rand(units.shape, generator=g) < 0.4] = -torch.inf
            units[0, :, B // 2] = -torch.inf
            theta[torch.rand(theta.shape, generator=g) < 0.4] = 0
        theta[theta < 1e-30] = 0
        scales = _rounded(20 * torch.randn(rows + 1, 1, B, generator=g))
        units[rows], scales[rows] = 0, 0
        template = compile_plan(structures.factorized(1, num_categories=2)).levels[0]
        level = replace(
            template,
            num_units=K,
            num_regions=R,
            start=0,
            parameter=0,
            parameter_rows=torch.zeros(R, dtype=torch.long) if is_shared else None,
            children=children,
            num_partitions=P,
            child_units=J,
            is_input=is_input,
            exclusive=not is_shared,
        )
        return cls(level, rows, units, scales, theta.float(), 2 * torch.rand(R, K, B, generator=g) - 1)

    def to(self, device: torch.device) -> Case:
        tensors = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return Case(**{k: v.to(device) if isinstance(v, Tensor) else v for k, v in tensors.items()})

    @property
    def theta_rows(self) -> Tensor:
        rows = self.level.parameter_rows
        return torch.arange(self.level.num_regions) if rows is None else rows


def _rounded(x: Tensor) -> Tensor:
    """To 1/64, so that sums of children are exact in float32 and what is compared is what the kernels do with them."""
    return (64 * x).round() / 64


def log_u_of(case: Case) -> Tensor:
    """log u_k = log sum_m theta_km exp(x_m), (R, K, B)."""
    return _log_terms(case).logsumexp(2)


def product_flows(case: Case) -> Tensor:
    """Flows of the children, (rows, J, B): theta_km exp(x_m) flow_k / u_k summed over k and over the parents."""
    passed = _passed(case).sum(1).reshape(-1, *case.units.shape[1:])
    target = torch.zeros(case.units.shape, dtype=torch.float64)
    for rows in case.level.children:
        target.index_add_(0, rows, passed)
    return target


def edge_flows(case: Case) -> Tensor:
    """theta_km exp(x_m) flow_k / u_k summed over the batch and over regions that share parameters, as theta."""
    return torch.zeros(case.theta.shape, dtype=torch.float64).index_add(0, case.theta_rows, _passed(case).sum(-1))


def hard_log_u(case: Case, values: Tensor) -> Tensor:
    """log f_k(value of the region's variable), (R, K, B); 0 where missing."""
    return torch.stack(
        [
            torch.stack([table[:, v] if v >= 0 else torch.ones(len(table)) for v in of_region], 1).double().log()
            for table, of_region in zip(case.theta.cpu()[case.theta_rows], _values(case, values))
        ]
    )


def hard_edge_flows(case: Case, values: Tensor, flow: Tensor) -> Tensor:
    """theta times the gradient: flow_k at the observed value, theta_kv flow_k where it is missing; as theta."""
    theta, total = case.theta.double().cpu(), torch.zeros(case.theta.shape, dtype=torch.float64)
    for row, of_region, flows in zip(case.theta_rows.tolist(), _values(case, values), flow.double().cpu()):
        for v, own in zip(of_region, flows.T):
            if v < 0:
                total[row] += theta[row] * own[:, None]
            else:
                total[row, :, v] += own
    return total


def _values(case: Case, values: Tensor) -> list[list[int]]:
    """The values of each region's variable."""
    return values.cpu()[case.level.children[0]].tolist()


def _log_terms(case: Case) -> Tensor:
    """log theta_km + x_mb, (R, K, M, B)."""
    messages = (case.units.double() + case.scales.double()).cpu()
    x = sum(messages[rows] for rows in case.level.children)
    assert isinstance(x, Tensor)
    x = x.reshape(case.level.num_regions, 1, -1, x.shape[-1])
    return case.theta.double().cpu()[case.theta_rows].log()[..., None] + x


def _share(log_terms: Tensor) -> Tensor:
    """Terms over their sum over m; 0 where all are impossible."""
    log_u = log_terms.logsumexp(2, keepdim=True)
    return (log_terms - log_u.masked_fill(log_u == -torch.inf, 0)).exp()


def _passed(case: Case) -> Tensor:
    return _share(_log_terms(case)) * case.flow.double().cpu()[:, :, None, :]
