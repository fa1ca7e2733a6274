"""A probabilistic circuit: parameters on a region graph, and the exact queries."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from ..checks import is_generator, positive_integer
from ..errors import TiramisuError
from .engines import choose, safe, traceback
from .engines.cuda_graphs import Tensors, by_graph
from .engines.messages import Evidence
from .engines.tape import Tapes
from .evidence_checks import check_log_weights, check_possible, checked_values
from .regions import RegionGraph
from .tables import Tables
from .threads import by_work, few_threads

MESSAGE_BYTES = 256 * 2**20  # a batch is worked through in chunks whose messages take about this much


class Circuit(Tables):
    """p(x) over D variables with C categories, as a smooth and decomposable circuit.

    Parameters are probabilities, stored normalised: per level of equal regions a tensor theta (R, K_out, M) that sums
    to one over M (M product units of a sum, M = C categories of an input).

    Args:
        graph: the structure, from `structures`.
        generator: for the random start, theta proportional to exp(uniform); the default generator if None.
        dtype: float32, or float64 for exactness in small circuits.
        engine: "fast", "safe" (log space), "triton", or None for the fastest one wherever the parameters are.
    """

    def __init__(
        self,
        graph: RegionGraph,
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
        engine: str | None = None,
    ):
        super().__init__(graph, generator, dtype)
        self.engine_name = engine
        self.tapes = Tapes()  # buffers for queries, at most MESSAGE_BYTES each

    @property
    def engine(self) -> ModuleType:
        """The module that computes messages and flows, chosen for where the parameters are now.

        Raises:
            TiramisuError: when the engine asked for cannot run there.
        """
        return choose(self.engine_name, self.device, self.dtype)

    @by_work
    def log_likelihood(self, x: Tensor) -> Tensor:
        """log p(x), missing variables summed out; differentiable in the parameters.

        Args:
            x: (B, D) integers, category per variable, -1 = missing.

        Returns:
            (B,) nats; -inf where the circuit excludes x.

        Raises:
            EvidenceError: for a wrong shape or type, or a value that is no category.
        """
        log_p = self._log_z(checked_values(x, self.num_variables, self.num_categories).to(self.device))
        check_possible(log_p.detach(), may_be_zero=True)
        return log_p

    @by_work
    def log_partition(self, log_weights: Tensor) -> Tensor:
        """log Z(w) = log sum_x p(x) prod_i w_i(x_i), differentiable in the log weights and the parameters.

        Its derivative with respect to log w_i(v) is p(X_i = v | w): the backward pass of the circuit *is* the
        vector-Jacobian product.

        Args:
            log_weights: (B, D, C), -inf allowed.

        Returns:
            (B,) nats.

        Raises:
            EvidenceError: for NaN, +inf, a row of all -inf (names it), or Z = 0 (names the batch rows).
        """
        log_weights, taken_out = self._checked(log_weights)
        log_z = (self._log_z(log_weights) + taken_out).to(self.dtype)
        check_possible(log_z.detach())
        return log_z

    @by_work
    @torch.no_grad()
    def posterior_marginals(self, log_weights: Tensor) -> Tensor:
        """p(X_i = v | w) for every variable and value at once, from one forward and one backward pass.

        Args:
            log_weights: (B, D, C), -inf allowed.

        Returns:
            (B, D, C), each row a distribution.

        Raises:
            EvidenceError: as `log_partition`.
        """
        engine, tables = self.engine, self.tables()
        out: list[Tensor] = []

        def query(rows: Tensor) -> Tensors:
            evidence = Evidence.of(rows)
            messages = engine.forward(self.plan, tables, evidence, keep=True, tapes=self.tapes)
            marginals = (torch.empty_like if self.plan.is_tree else torch.zeros_like)(evidence.given)
            engine.backward(self.plan, tables, evidence, messages, marginals=marginals)
            return marginals.permute(2, 0, 1), *([messages.log_root] if messages.may_be_impossible else [])

        for piece in self.chunks(self._checked(log_weights)[0]):
            marginals, *log_z = by_graph(engine, self.plan, "marginals", query, piece, tables)
            for values in log_z:
                check_possible(values, sum(len(done) for done in out))
            out.append(marginals)
        return out[0] if len(out) == 1 else torch.cat(out)

    @by_work
    @torch.no_grad()
    def sample(self, n: int, log_weights: Tensor | None = None, *, generator: traceback.Generators = None) -> Tensor:
        """Joint samples of p(x | w), by ancestral sampling.

        Args:
            n: samples per row of evidence.
            log_weights: (B, D, C), or None for samples of p(x).
            generator: one, or one for each row (or equal share of the rows), as if each were asked alone.

        Returns:
            (n, B, D) long, or (n, D) without evidence.

        Raises:
            EvidenceError: as `log_partition`.
            TiramisuError: when n is no whole number above 0.
        """
        n = positive_integer("n", n.tolist() if isinstance(n, Tensor) else n)
        owners: Sequence[Any] = generator if isinstance(generator, Sequence) and generator else [generator]
        for g in () if generator is None else owners:
            is_generator("generator", g)
        if log_weights is None:
            nothing_known = torch.zeros(1, self.num_variables, self.num_categories)
            return self.sample(n, nothing_known, generator=generator)[:, 0]
        rows, _ = self._checked(log_weights)
        share = -(-len(rows) // len(owners)) or 1  # rows of each generator
        draw = partial(traceback.draw, owners=owners, share=share)
        return torch.cat(list(self._walks(rows, self.engine, draw, n, share, keep=True)), 1)

    @by_work
    @torch.no_grad()
    def most_probable(self, log_weights: Tensor) -> Tensor:
        """An explanation x of high p(x) prod_i w_i(x_i), by max-product with traceback.

        Exact for deterministic circuits (a Chow-Liu tree); otherwise it maximises over x *and* the circuit's latent
        choices jointly, so its probability is a lower bound of the maximum.

        Args:
            log_weights: (B, D, C); the result is (B, D) long.
        """
        walks = self._walks(self._checked(log_weights)[0], safe, lambda odds, _: odds.argmax(-1), mix=torch.amax)
        return torch.cat(list(walks), 1)[0]

    def forward(self, x: Tensor) -> Tensor:
        """As `log_likelihood`, so that `torch.func.functional_call` can put other parameters in."""
        return self.log_likelihood(x)

    def _log_z(self, rows: Tensor) -> Tensor:
        """log p(x) of values (B, D), log Z(w) of log weights (B, D, C); differentiable."""
        tables, is_recorded = self.tables(), torch.is_grad_enabled()
        return torch.cat([_LogPartition.apply(self, is_recorded, piece, *tables) for piece in self.chunks(rows)])

    def _checked(self, log_weights: Tensor) -> tuple[Tensor, Tensor | float]:
        """The log weights in the circuit's floats, and log of the factor taken out of each row, (B,), on the way."""
        largest = check_log_weights(log_weights, self.num_variables, self.num_categories, self.dtype)
        if log_weights.dtype == self.dtype:
            return log_weights.to(self.device), 0.0
        largest = largest.detach()  # at 1e6 float32 has no digits left for what was a difference in float64
        shifted = (log_weights - largest[..., None]).to(self.device, self.dtype)
        return shifted, largest.sum(-1, dtype=torch.float64).to(self.device)

    def _walks(
        self, rows: Tensor, engine: ModuleType, pick: traceback.Pick, copies: int = 1, share: int = 1, **options: Any
    ) -> Iterator[Tensor]:
        """Pieces of states (copies, B, D), each reached from the root; arguments as in `chunks`, `forward`, `walk`."""
        tables, first = self.tables(), 0
        for piece in self.chunks(rows, copies, share):
            evidence = Evidence.of(piece)
            messages = engine.forward(self.plan, tables, evidence, tapes=self.tapes, **options)
            if messages.may_be_impossible:
                check_possible(messages.log_root, first)
            odds = partial(engine.odds, self.plan, tables, messages)
            yield traceback.walk(self.plan, odds, pick, evidence.given, copies, first)
            first += len(piece)

    def chunks(self, rows: Tensor, copies: int = 1, share: int = 1) -> Iterator[Tensor]:
        """Rows in pieces whose messages stay within MESSAGE_BYTES; each `share` of them is cut as it would be alone."""
        size = max(16, MESSAGE_BYTES // (self.plan.floats_per_sample * self.dtype.itemsize * copies))
        return (piece for some in rows.split(max(1, size // share) * share) for piece in some.split(size))


class _LogPartition(torch.autograd.Function):
    """log Z with the circuit's own backward pass as its gradient, of values (B, D) or log weights (B, D, C).

    `is_recorded` is False under `torch.no_grad`, where nothing is kept.
    """

    @staticmethod
    def forward(ctx, circuit, is_recorded, rows, *parameters):
        ctx.evidence, ctx.engine, ctx.plan = Evidence.of(rows), circuit.engine, circuit.plan
        engine, plan, keep = ctx.engine, ctx.plan, is_recorded and any(ctx.needs_input_grad)

        def query(rows):
            messages = engine.forward(plan, list(parameters), Evidence.of(rows), keep=keep, tapes=circuit.tapes)
            ctx.messages = messages if keep else None
            return (engine.log_partition(plan, messages).to(circuit.dtype),)

        ctx.save_for_backward(rows, *parameters)
        return (query(rows) if keep else by_graph(engine, plan, "log Z", query, rows, parameters))[0]

    @staticmethod
    def backward(ctx, grad):
        rows, *parameters = ctx.saved_tensors
        with torch.no_grad(), few_threads(ctx.plan, len(rows), rows.is_floating_point()):
            marginals = torch.zeros_like(ctx.evidence.given) if ctx.needs_input_grad[2] else None
            gradients = [torch.zeros_like(p) for p in parameters] if any(ctx.needs_input_grad[3:]) else None
            asked = {"root_flow": grad, "gradients": gradients, "marginals": marginals}
            ctx.engine.backward(ctx.plan, parameters, ctx.evidence, ctx.messages, **asked)
        found = [None if marginals is None else marginals.permute(2, 0, 1), *(gradients or (None for _ in parameters))]
        return None, None, *_Once.apply(grad, rows, *parameters, *found)


class _Once(torch.autograd.Function):
    """Hands on the gradients, the second half of its arguments; what they are gradients of only marks the way back."""

    @staticmethod
    def forward(ctx, upstream, *tensors):
        return tuple(None if g is None else g.view_as(g) for g in tensors[len(tensors) // 2 :])

    @staticmethod
    def backward(ctx, *_):
        raise TiramisuError("log Z has no second derivatives: its gradient, once computed, is a constant")


@by_work
@torch.no_grad()
def accumulate(circuit: Circuit, tables: list[Tensor], rows: Tensor, gradients: list[Tensor]) -> Tensor:
    """One batch of the E-step: log p(x) or log Z(w) of the rows, (B,); d log Z / d table is added to `gradients`."""
    engine, plan = circuit.engine, circuit.plan

    def query(rows: Tensor) -> Tensors:
        evidence = Evidence.of(rows)
        messages = engine.forward(plan, tables, evidence, keep=True, tapes=circuit.tapes)
        engine.backward(plan, tables, evidence, messages, gradients=gradients)
        return (engine.log_partition(plan, messages),)

    return by_graph(engine, plan, "counts", query, rows, [*tables, *gradients])[0]


def bits_per_dimension(mean_log_likelihood: float, num_variables: int) -> float:
    """-log2 p(x) / D, from a mean log-likelihood in nats."""
    return -mean_log_likelihood / (num_variables * math.log(2))
