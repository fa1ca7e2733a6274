"""Dynamax: the hidden Markov model with tied transitions and emissions, compiled by XLA over the whole batch.

Its smoother computes states; the marginals of the emissions are one more matrix product, done here in JAX as well. XLA
has threads of its own, which neither OMP_NUM_THREADS nor torch.set_num_threads bounds: where PyTorch has one thread,
XLA_FLAGS are set to give XLA one too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.peers import Calls, Problem
from tiramisu_edu.circuits.circuit import Circuit


def parameters(circuit: Circuit) -> tuple[Any, Any, Any]:
    """(K,) start, (K, K) transitions from row to column, (K, C) emissions, as arrays of JAX."""
    import jax.numpy as jnp

    graph = circuit.graph
    root = len(graph.regions) - 1
    leaf = next(i for i, region in enumerate(graph.regions) if region.is_input)
    step = next(i for i, region in enumerate(graph.regions[:-1]) if not region.is_input)
    start, transition, emission = (circuit.region_table(i).detach().numpy() for i in (root, step, leaf))
    return jnp.asarray(start[0]), jnp.asarray(transition), jnp.asarray(emission)


def calls(problem: Problem) -> Calls:
    if torch.get_num_threads() == 1:  # read when XLA computes for the first time
        os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
    import jax
    import jax.numpy as jnp
    from dynamax.hidden_markov_model import CategoricalHMM

    arrays = start, transition, emission = parameters(problem.circuit)
    x = jnp.asarray(problem.x.numpy())
    model = CategoricalHMM(len(start), 1, emission.shape[1])
    given = {"initial_probs": start, "transition_matrix": transition, "emission_probs": emission[:, None]}
    theta, _ = model.initialize(**given)

    def e_step(theta, x):
        counts, log_z = jax.vmap(lambda row: model.e_step(theta, row))(x[..., None])
        return jax.tree.map(lambda leaf: leaf.sum(0), counts), log_z

    return {
        "log_likelihood": _ready(_log_likelihood, *arrays, x),
        "forward_backward": _first(_ready(_gradients, *arrays, x)),
        "smoothing": _ready(_smoothing, *arrays, x),
        "marginals": _ready(_marginals, *arrays, jnp.asarray(problem.log_weights.numpy())),
        "e_step": _ready(e_step, theta, x),
    }


def _log_likelihood(start, transition, emission, x):
    import jax
    import jax.numpy as jnp
    from dynamax.hidden_markov_model import hmm_filter

    return jax.vmap(lambda row: hmm_filter(start, transition, jnp.log(emission.T[row])).marginal_loglik)(x)


def _gradients(start, transition, emission, x):
    import jax

    def total(theta):
        each = _log_likelihood(theta[0], theta[1], theta[2], x)
        return each.sum(), each

    (_, each), gradient = jax.value_and_grad(total, has_aux=True)((start, transition, emission))
    return each, gradient


def _smoothing(start, transition, emission, x):
    import jax
    import jax.numpy as jnp
    from dynamax.hidden_markov_model import hmm_smoother

    return jax.vmap(lambda row: hmm_smoother(start, transition, jnp.log(emission.T[row])).smoothed_probs)(x)


def _marginals(start, transition, emission, log_weights):
    import jax
    import jax.numpy as jnp
    from dynamax.hidden_markov_model import hmm_smoother

    def one(log_w):
        w = jnp.exp(log_w - log_w.max(-1, keepdims=True))
        f = w @ emission.T
        states = hmm_smoother(start, transition, jnp.log(f)).smoothed_probs
        return (states / f) @ emission * w

    return jax.vmap(one)(log_weights)


def _ready(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    """The compiled function on its arguments, warmed up at the first call, run to the end at each."""
    import jax

    compiled = jax.jit(function)
    return lambda: jax.block_until_ready(compiled(*arguments))


def _first(call: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: call()[0]
