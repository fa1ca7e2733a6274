"""Learning by expectation maximisation: flows are expected counts, normalised counts are the new parameters.

Data is anything with rows: a tensor (N, D) of categories with -1 for missing, a tensor (N, D, C) of log weights (soft
evidence), or an array larger than memory such as a NumPy memmap, read batch by batch. Under `torchrun` each process
takes its share of every batch and the expected counts are summed over all, so the result does not depend on their
number.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..errors import FileError, TiramisuError
from ..files import load_safetensors, save_safetensors
from .circuit import Circuit, bits_per_dimension
from .engines.messages import Evidence
from .evidence_checks import check_log_weights, check_possible, checked_values
from .inputs import get_family

CHECKPOINT_KIND, CHECKPOINT_VERSION = "EM checkpoint", 1
READ = 4096  # rows read at once from data that may be larger than memory


class Rows(Protocol):
    """Anything with a length whose rows are reached by an array of indices."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Any: ...


@dataclass
class History:
    """What each epoch of `fit_em` saw, in nats per sample, before that epoch's update.

    With full batches `train[e]` is the exact mean log-likelihood of the parameters of epoch e, and never falls at
    pseudocount 0; with mini-batches it is the running mean over the epoch.
    """

    num_variables: int
    train: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    best_epoch: int = 0  # the parameters handed back are those measured at this entry of `validation` (or `train`)

    @property
    def bits_per_dimension(self) -> list[float]:
        """-log2 p / D on the validation data, or on the training data without any."""
        return [bits_per_dimension(value, self.num_variables) for value in self.validation or self.train]


@dataclass(frozen=True)
class EMSettings:
    """Settings of `fit_em`, saved with its checkpoints and compared on resuming."""

    epochs: int
    pseudocount: float
    batch_size: int | None
    patience: int | None

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.pseudocount < 0:
            raise TiramisuError("epochs and pseudocount must not be negative")
        if self.batch_size is not None and self.batch_size < 1:
            raise TiramisuError(f"batch_size must be at least 1, not {self.batch_size}")


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
        checkpoint: file to resume from and to write after each epoch, atomically (by the first process).
        generator: for the order of mini-batches.
        progress: show a progress bar.

    Returns:
        The history. A run that was killed and resumed from its checkpoint returns the same as one that was not.

    Raises:
        EvidenceError: for data of the wrong shape or range.
        FileError: when the checkpoint belongs to other settings or another circuit.
    """
    settings = EMSettings(epochs, pseudocount, batch_size, patience)
    if len(train) == 0:
        raise TiramisuError("the training data is empty")
    run = _Run(circuit, settings, generator)
    if checkpoint is not None and Path(checkpoint).exists():
        run.resume(checkpoint)
    eta = step_size or (_full_step if batch_size is None else _decaying_step)
    quiet = not progress or _rank() > 0
    bar = tqdm(total=epochs, initial=run.epoch, desc="EM", unit="epoch", disable=quiet)
    while run.epoch < epochs and not run.is_over:
        run.one_epoch(train, validation, eta)
        bar.set_postfix_str(f"{run.history.bits_per_dimension[-1]:.3f} bits/dim")
        bar.update()
        if checkpoint is not None and _rank() == 0:
            run.save(checkpoint)
    bar.close()
    run.finish(train, validation)
    return run.history


def _full_step(progress: float) -> float:
    return 1.0


def _decaying_step(progress: float) -> float:
    return 0.5 / (1 + 10 * progress)


class _Run:
    """The state of one call of `fit_em`: what a checkpoint holds."""

    def __init__(self, circuit: Circuit, settings: EMSettings, generator: torch.Generator | None):
        self.circuit = circuit
        self.settings = settings
        self.generator = generator or torch.Generator().manual_seed(0)
        self.history = History(circuit.num_variables)
        self.epoch = 0
        self.best = -math.inf
        self.best_parameters = [theta.detach().clone() for theta in circuit.parameter_list]

    @property
    def is_over(self) -> bool:
        patience = self.settings.patience
        return patience is not None and self.epoch - self.history.best_epoch > patience

    def one_epoch(self, train: Rows, validation: Rows | None, eta: Callable[[float], float]) -> None:
        parameters = [theta.detach().clone() for theta in self.circuit.parameter_list]
        if validation is not None:
            self._judge(mean_log_likelihood(self.circuit, validation), parameters, self.history.validation)
        size = self.settings.batch_size or len(train)
        order = torch.arange(len(train))
        if size < len(train):
            order = torch.randperm(len(train), generator=self.generator)
        total = 0.0
        for number, rows in enumerate(order.split(size)):
            counts, log_likelihood = expected_counts(self.circuit, train, rows)
            total += log_likelihood
            step = eta((self.epoch + number * size / len(train)) / self.settings.epochs)
            maximise(self.circuit, counts, self.settings.pseudocount * len(rows) / len(train), step)
        if validation is None:
            self._judge(total / len(train), parameters, self.history.train)
        else:
            self.history.train.append(total / len(train))
        self.epoch += 1

    def finish(self, train: Rows, validation: Rows | None) -> None:
        """Measure the last update too, then put the best parameters in place."""
        data, record = (train, self.history.train) if validation is None else (validation, self.history.validation)
        parameters = [theta.detach().clone() for theta in self.circuit.parameter_list]
        self._judge(mean_log_likelihood(self.circuit, data), parameters, record)
        with torch.no_grad():
            for theta, best in zip(self.circuit.parameter_list, self.best_parameters):
                theta.copy_(best)

    def _judge(self, value: float, parameters: list[Tensor], record: list[float]) -> None:
        record.append(value)
        if value > self.best:
            self.best, self.best_parameters = value, parameters
            self.history.best_epoch = len(record) - 1

    def save(self, path: str | Path) -> None:
        tensors = {f"theta.{i}": t.detach() for i, t in enumerate(self.circuit.parameter_list)}
        tensors |= {f"best.{i}": t for i, t in enumerate(self.best_parameters)}
        tensors["generator"] = self.generator.get_state()
        save_safetensors(path, tensors, kind=CHECKPOINT_KIND, version=CHECKPOINT_VERSION, metadata=self._metadata())

    def _metadata(self) -> dict[str, object]:
        state = {"epoch": self.epoch, "best": self.best if math.isfinite(self.best) else None}
        return {
            "graph": self.circuit.graph.to_json(),
            "settings": asdict(self.settings),
            "history": asdict(self.history),
            **state,
        }

    def resume(self, path: str | Path) -> None:
        tensors, metadata = load_safetensors(path, kind=CHECKPOINT_KIND, version=CHECKPOINT_VERSION)
        mine = json.loads(json.dumps(self._metadata()))
        for what in ("graph", "settings"):
            if metadata[what] != mine[what]:
                raise FileError(f"{path} was written by a run with another {what}: remove it to start afresh")
        with torch.no_grad():
            for i, theta in enumerate(self.circuit.parameter_list):
                theta.copy_(tensors[f"theta.{i}"])
        self.best_parameters = [tensors[f"best.{i}"].to(theta) for i, theta in enumerate(self.best_parameters)]
        self.generator.set_state(tensors["generator"])
        self.history = History(**metadata["history"])
        self.epoch = metadata["epoch"]
        self.best = -math.inf if metadata["best"] is None else metadata["best"]


@torch.no_grad()
def mean_log_likelihood(circuit: Circuit, data: Rows) -> float:
    """Mean of log p(x), or of log Z(w), over the rows; nats."""
    total = torch.zeros((), dtype=torch.float64)
    for index in _share(torch.arange(len(data))).split(READ):
        rows = _rows(data, index)
        log_z = circuit.log_partition(rows) if rows.is_floating_point() else circuit.log_likelihood(rows)
        total += log_z.double().sum().cpu()
    return float(_sum_over_processes([total])[0]) / len(data)


@torch.no_grad()
def expected_counts(circuit: Circuit, data: Rows, index: Tensor | None = None) -> tuple[list[Tensor], float]:
    """E-step: per table the edge flows summed over the rows, and the sum of log p(x) or log Z(w).

    Args:
        index: which rows, (n,) long; all if None.

    Raises:
        EvidenceError: for rows of the wrong shape or range, or of probability zero, named by their place in the batch.
    """
    tables = circuit.tables()
    gradients = [torch.zeros_like(table) for table in tables]
    log_likelihood = torch.zeros((), dtype=torch.float64, device=circuit.device)
    for part in _share(torch.arange(len(data)) if index is None else index).split(READ):
        first_row = 0
        for rows in circuit.chunks(_checked(circuit, _rows(data, part))):
            log_z = accumulate(circuit, tables, rows, gradients)
            check_possible(log_z, first_row)
            log_likelihood += log_z.double().sum()
            first_row += len(rows)
    counts = [gradient.mul_(table) for gradient, table in zip(gradients, tables)]
    *counts, log_likelihood = _sum_over_processes([*counts, log_likelihood])
    return counts, float(log_likelihood)


@torch.no_grad()
def accumulate(circuit: Circuit, tables: list[Tensor], rows: Tensor, gradients: list[Tensor]) -> Tensor:
    """One batch of the E-step: log p(x) or log Z(w) of the rows, (B,); d log Z / d table is added to `gradients`."""
    evidence = Evidence(log_weights=rows.permute(1, 2, 0)) if rows.is_floating_point() else Evidence(values=rows.T)
    engine = circuit.engine
    messages = engine.forward(circuit.plan, tables, evidence, keep=True, tapes=circuit.tapes)
    engine.backward(circuit.plan, tables, evidence, messages, gradients=gradients)
    return engine.log_partition(circuit.plan, messages)


@torch.no_grad()
def maximise(circuit: Circuit, counts: list[Tensor], pseudocount: float, step: float = 1.0) -> None:
    """M-step: parameters that fit the counts, mixed with the old ones. A unit that was never reached keeps its own."""
    for own, count, parameter in zip(circuit.parameter_list, counts, circuit.plan.parameters):
        family = get_family(parameter.family or "categorical")
        own.lerp_(family.maximise(own, count, pseudocount), step)
        if family.name == "categorical":
            own /= own.sum(-1, keepdim=True)


def _rows(data: Rows, index: Tensor) -> Tensor:
    return data[index] if isinstance(data, Tensor) else torch.as_tensor(data[index.numpy()])


def _checked(circuit: Circuit, rows: Tensor) -> Tensor:
    if rows.is_floating_point():
        check_log_weights(rows, circuit.num_variables, circuit.num_categories, circuit.dtype)
        return rows.to(circuit.device, circuit.dtype)
    return checked_values(rows, circuit.num_variables, circuit.num_categories).to(circuit.device)


def _is_distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _rank() -> int:
    return torch.distributed.get_rank() if _is_distributed() else 0


def _share(index: Tensor) -> Tensor:
    """This process's part of the rows."""
    return index[_rank() :: torch.distributed.get_world_size()] if _is_distributed() else index


def _sum_over_processes(tensors: list[Tensor]) -> list[Tensor]:
    if _is_distributed():
        for tensor in tensors:
            torch.distributed.all_reduce(tensor)
    return tensors
