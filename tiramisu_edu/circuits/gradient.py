"""Learning by gradient, for comparison with EM: Adam on the logits of every distribution in the circuit."""

from __future__ import annotations

import torch
from torch import Tensor
from tqdm.auto import tqdm

from .circuit import Circuit
from .learning import History, mean_log_likelihood


def fit_adam(
    circuit: Circuit,
    train: Tensor,
    *,
    validation: Tensor | None = None,
    epochs: int = 30,
    batch_size: int = 256,
    learning_rate: float = 0.05,
    generator: torch.Generator | None = None,
    progress: bool = True,
) -> History:
    """Maximise mean log p(x) over theta = softmax(logits) by Adam, in place.

    The gradient is the circuit's own flow pass: d log p / d logit_c = flow_c - theta_c sum_c flow_c.

    Args:
        train: (N, D) long, -1 = missing.
        learning_rate: of Adam, on the logits.

    Returns:
        The history, as `fit_em`: before each epoch's updates the running training mean, and the validation mean.
    """
    generator = generator or torch.Generator().manual_seed(0)
    history = History(circuit.num_variables)
    learned = {name: theta for name, theta in circuit.named_parameters() if theta.requires_grad}
    logits = {name: theta.detach().log().clamp_min(-50).requires_grad_() for name, theta in learned.items()}
    optimiser = torch.optim.Adam(logits.values(), lr=learning_rate)
    for _ in tqdm(range(epochs), desc="Adam", unit="epoch", disable=not progress):
        if validation is not None:
            history.validation.append(mean_log_likelihood(circuit, validation))
        total = 0.0
        for rows in torch.randperm(len(train), generator=generator).split(batch_size):
            theta = {name: torch.softmax(logit, -1) for name, logit in logits.items()}
            log_p = torch.func.functional_call(circuit, theta, (train[rows],))
            optimiser.zero_grad()
            (-log_p.mean()).backward()
            optimiser.step()
            total += float(log_p.detach().sum())
        history.train.append(total / len(train))
        with torch.no_grad():
            for name, logit in logits.items():
                learned[name].copy_(torch.softmax(logit, -1))
    return history
