"""Learning by expectation maximisation: flows are expected counts, normalised counts are the new parameters.

Data is anything with rows: a tensor (N, D) of categories with -1 for missing, a tensor (N, D, C) of log weights (soft
evidence), or an array larger than memory such as a NumPy memmap, read batch by batch. Under `torchrun` each process
takes its share of every batch and the expected counts are summed over all, so the result does not depend on their
number.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..checkpoint import Checkpoint
from ..checks import check_rows, instance, integer, is_generator, number
from ..files import reading, tensor_digest
from ..ranks import process_rank, share, summed
from .circuit import Circuit, accumulate, bits_per_dimension
from .evidence_checks import check_log_weights, check_possible, checked_values
from .inputs import normalised_counts
from .threads import few_threads

READ, NUMBERS = 4096, 2**26  # rows, and log weights, read at once from data that may be larger than memory
BLOCK = 2**16  # parameters that a processor updates at once: they and their counts stay in the cache
_NUMBERS, _TENSORS = ("epoch", "num_done", "batches", "total", "best_value"), ("parameters", "first", "best")


class Rows(Protocol):
    """Anything with a length whose rows are reached by an array of indices."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


@dataclass
class History:
    """Mean log-likelihoods in nats per sample, of each epoch of `fit_em` before its updates.

    With full batches `train[e]` is the exact mean log-likelihood of the parameters of epoch e, and never falls at
    pseudocount 0; with mini-batches it is the running mean over the epoch.
    """

    num_variables: int
    train: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    best_epoch: int = 0  # the parameters kept are those measured at this entry of `validation` (or `train`)

    @property
    def bits_per_dimension(self) -> list[float]:
        """-log2 p / D on the validation data, or on the training data without any."""
        return [bits_per_dimension(value, self.num_variables) for value in self.validation or self.train]


def fit_em(
    circuit: Circuit,
    train: Rows,
    *,
    validation: Rows | None = None,
    epochs: int = 30,
    pseudocount: float = 0.1,
    batch_size: int | None = None,
    step_size: Callable[[float], float] | None = None,
    patience: int | None = None,
    checkpoint: str | Path | None = None,
    generator: torch.Generator | None = None,
    progress: bool = True,
) -> History:
    """Maximise mean log p(x) by EM, in place; the best parameters seen on the validation data are kept.

    E-step: edge flows F summed over the samples. M-step, with pseudocount l spread over a node's edges:

        theta_c = (F_c + l / |in(n)|) / (sum_c F_c + l)

    then theta <- (1 - eta) theta + eta theta_batch; a mini-batch takes its share of the pseudocount.

    Args:
        train: (N, D) categories with -1 for missing, or (N, D, C) log weights; see the module's first lines.
        validation: likewise; chooses the parameters kept and stops early.
        epochs: passes over the training data.
        pseudocount: l.
        batch_size: samples per update; None for the whole data (full-batch EM).
        step_size: eta as a function of progress in [0, 1); 1 for full batches, else 0.5 / (1 + 10 progress).
        patience: stop after so many epochs without a better validation likelihood; None for never.
        checkpoint: file to resume from, written between updates every 30 s, and at the end; see `Checkpoint`.
        generator: for the order of mini-batches.
        progress: show a progress bar.

    Returns:
        The history. A run that was killed and resumed from its checkpoint returns the same as one that was not.

    Raises:
        EvidenceError: for data of the wrong shape or range.
        FileError: when the checkpoint belongs to other settings, other data or another circuit.
        TiramisuError: for settings out of range, no data, or a likelihood that becomes NaN.
    """
    instance("circuit", circuit, Circuit)
    integer("epochs", epochs)
    number("pseudocount", pseudocount, 0)
    integer("batch_size", 1 if batch_size is None else batch_size, 1)
    integer("patience", 0 if patience is None else patience)
    generator = torch.Generator().manual_seed(0) if generator is None else generator
    is_generator("generator", generator)
    check_rows("train", train)
    check_rows("validation", train if validation is None else validation)
    settings = {"epochs": epochs, "pseudocount": pseudocount, "batch_size": batch_size, "patience": patience}
    file = Checkpoint(checkpoint, {} if checkpoint is None else settings | _identity(circuit, train, validation))
    run = _Run(circuit, settings, generator)
    if (state := file.load()) is not None:
        with reading(file.path or ""):
            run.restore(state)
    eta = step_size or ((lambda done: 1.0) if batch_size is None else (lambda done: 0.5 / (1 + 10 * done)))
    bar = tqdm(total=epochs, initial=run.epoch, desc="EM", unit="epoch", disable=not progress or process_rank() > 0)
    while run.epoch < epochs and (patience is None or run.epoch - run.history.best_epoch <= patience):
        run.one_epoch(train, validation, eta, file)
        bar.set_postfix_str(f"{run.history.bits_per_dimension[-1]:.3f} bits/dim")
        bar.update()
    bar.close()
    file.save(run.state())
    run.finish(train, validation)
    return run.history


def _identity(circuit: Circuit, train: Rows, validation: Rows | None) -> dict[str, Any]:
    """What a checkpoint remembers of circuit and data: of the data the number of rows, and some of them."""
    identity: dict[str, Any] = {"graph": circuit.graph.to_json(), "dtype": str(circuit.dtype)}
    for name, data in (("train", train), ("validation", validation)):
        if data is not None and len(data):
            some = torch.linspace(0, len(data) - 1, min(len(data), 64), dtype=torch.float32).long()
            identity[name] = [len(data), tensor_digest({"rows": _rows(data, some)})]
    return identity


class _Run:
    """All that changes during one call of `fit_em`: what a checkpoint holds."""

    def __init__(self, circuit: Circuit, settings: dict[str, Any], generator: torch.Generator):
        self.circuit, self.settings, self.generator = circuit, settings, generator
        self.history = History(circuit.num_variables)
        self.parameters = [theta.detach() for theta in circuit.parameter_list]
        self.first = [theta.clone() for theta in self.parameters]  # as they were at the start of the epoch
        self.best = [theta.clone() for theta in self.parameters]
        self.best_value = -math.inf
        self.gradients = [torch.zeros_like(table) for table in circuit.tables()]
        self.epoch = self.num_done = 0  # epochs done, and batches of the next one
        self.batches: list[Tensor] = []  # rows of the training data; made when an epoch starts
        self.total = 0.0  # log-likelihood of the batches done

    def one_epoch(self, train: Rows, validation: Rows | None, eta: Callable[[float], float], file: Checkpoint) -> None:
        if not self.batches:  # else a checkpoint was taken up within the epoch
            self._start_epoch(len(train), validation)
        for rows in self.batches[self.num_done :]:
            done, part = self.epoch + self.num_done * len(self.batches[0]) / len(train), len(rows) / len(train)
            step, pseudocount = eta(done / self.settings["epochs"]), self.settings["pseudocount"] * part
            with few_threads(self.circuit.plan, len(rows), is_soft=getattr(train, "ndim", 2) > 2):
                self.total += em_step(self.circuit, train, rows, self.gradients, pseudocount=pseudocount, step=step)
            self.num_done += 1
            if file.due():
                file.save(self.state())
        if validation is None:
            self._judge(self.total / len(train), self.history.train)
        else:
            self.history.train.append(self.total / len(train))
        self.epoch, self.num_done, self.batches, self.total = self.epoch + 1, 0, [], 0.0

    def _start_epoch(self, num_rows: int, validation: Rows | None) -> None:
        _copy(self.first, self.parameters)
        if validation is not None:
            self._judge(mean_log_likelihood(self.circuit, validation), self.history.validation)
        size = self.settings["batch_size"] or num_rows
        order = torch.randperm(num_rows, generator=self.generator) if size < num_rows else torch.arange(num_rows)
        self.batches = list(order.split(size))

    def finish(self, train: Rows, validation: Rows | None) -> None:
        """Measure the last update too, then put the best parameters in place."""
        data, record = (train, self.history.train) if validation is None else (validation, self.history.validation)
        _copy(self.first, self.parameters)
        self._judge(mean_log_likelihood(self.circuit, data), record)
        _copy(self.parameters, self.best)

    def _judge(self, value: float, record: list[float]) -> None:
        """Keep the parameters that the epoch started from if `value`, their likelihood, is the best so far."""
        if value == -math.inf:
            why = "some validation rows have probability zero, which a pseudocount above 0 avoids"
            warnings.warn(f"the parameters after {len(record)} epochs are not kept: {why}", stacklevel=4)
        record.append(value)
        if value > self.best_value:
            self.best_value, self.history.best_epoch = value, len(record) - 1
            _copy(self.best, self.first)

    def state(self) -> dict[str, Any]:
        state = {name: getattr(self, name) for name in (*_NUMBERS, *_TENSORS)}
        return state | {"history": asdict(self.history), "generator": self.generator.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        for name in _NUMBERS:
            setattr(self, name, state[name])
        for name in _TENSORS:
            _copy(getattr(self, name), state[name])
        self.history = History(**state["history"])
        self.generator.set_state(state["generator"])


def _copy(into: Iterable[Tensor], values: Iterable[Tensor]) -> None:
    for old, new in zip(into, values, strict=True):
        old.copy_(new)


@torch.no_grad()
def mean_log_likelihood(circuit: Circuit, data: Rows) -> float:
    """Mean of log p(x), or of log Z(w), over the rows; nats."""
    total = torch.zeros((), dtype=torch.float64)
    for index in share(torch.arange(len(data))).split(rows_at_once(circuit)):
        rows = _rows(data, index)
        log_z = circuit.log_partition(rows) if rows.is_floating_point() else circuit.log_likelihood(rows)
        total += log_z.double().sum().cpu()
    return float(summed([total])[0]) / len(data)


@torch.no_grad()
def em_step(
    circuit: Circuit,
    data: Rows,
    index: Tensor | None = None,
    gradients: list[Tensor] | None = None,
    *,
    pseudocount: float,
    step: float = 1.0,
) -> float:
    """E-step and M-step of one batch: parameters that fit the expected counts, mixed with the old ones.

    A unit that was never reached keeps its own. Rounding does not add up: a row's deviation from the sum 1 shrinks by
    1 - step each time.

    Args:
        index: which rows, (n,) long; all if None.
        gradients: zeros of the tables' shapes, which are zeros again afterwards; made if None.
        pseudocount: l, as in `fit_em`.
        step: eta, the share of the new parameters.

    Returns:
        The sum of log p(x) or log Z(w), before the step.

    Raises:
        EvidenceError: for rows of the wrong shape or range, or of probability zero, with their place in the batch.
    """
    tables = circuit.tables()
    gradients = [torch.zeros_like(table) for table in tables] if gradients is None else gradients
    log_likelihood, first_row = torch.zeros((), dtype=torch.float64, device=circuit.device), 0
    for part in share(torch.arange(len(data)) if index is None else index).split(rows_at_once(circuit)):
        for rows in circuit.chunks(_checked(circuit, _rows(data, part))):
            log_z = accumulate(circuit, tables, rows, gradients)
            check_possible(log_z, first_row)
            log_likelihood += log_z.double().sum()
            first_row += len(rows)
    summed([*gradients, log_likelihood])
    for own, gradient, family in zip(circuit.parameter_list, gradients, circuit.families):
        some = len(own) if own.is_cuda else 1 + BLOCK // own[0].numel()
        for theta, count in zip(own.detach().split(some), gradient.split(some)):
            if family != "indicator":
                theta.lerp_(normalised_counts(theta, count.mul_(theta), pseudocount), step)
            count.zero_()
    return float(log_likelihood)


def rows_at_once(circuit: Circuit) -> int:
    """How many rows are read at once: fewer where there are many variables and categories."""
    return min(READ, max(1, NUMBERS // (circuit.num_variables * circuit.num_categories)))


def _rows(data: Rows, index: Tensor) -> Tensor:
    return data[index] if isinstance(data, Tensor) else torch.as_tensor(data[index.numpy()])


def _checked(circuit: Circuit, rows: Tensor) -> Tensor:
    if rows.is_floating_point():
        check_log_weights(rows, circuit.num_variables, circuit.num_categories, circuit.dtype)
        return rows.to(circuit.device, circuit.dtype)
    return checked_values(rows, circuit.num_variables, circuit.num_categories).to(circuit.device)
