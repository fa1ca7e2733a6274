"""Other libraries on the same circuits: one adapter each, all with the same questions.

    peers = available_peers()
    calls = peers["cirkit"].prepare("quad", D=64, C=256, K=64, B=64, generator=generator)
    calls["forward_backward"]()

A peer that is not installed is absent. The adapters copy the parameters of our circuit into the peer's own, so that
`log_likelihood` is the same numbers everywhere: a benchmark can check what it compares.

    name          region graph                         beyond log_likelihood and forward_backward
    safe          any                                  marginals (this package in log space)
    cirkit        without ties                         e_step, em_step (its EM optimiser)
    spflow        without ties                         -
    simple-einet  binary, D a power of two             -
    dynamax       tied_hmm                             marginals, smoothing (of the states), e_step
    pyjuice       without ties, on a CUDA device       marginals, e_step

cirkit, SPFlow and simple-einet keep logits and take a softmax of all their parameters at every call, as their users'
models do. simple-einet is not on PyPI; it is used when it can be imported. ON_CUDA names those that need a GPU.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor

from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit, accumulate
from tiramisu_edu.circuits.engines import fast
from tiramisu_edu.circuits.engines.messages import Evidence
from tiramisu_edu.circuits.learning import em_step
from tiramisu_edu.circuits.regions import RegionGraph
from tiramisu_edu.errors import TiramisuError

Calls = dict[str, Callable[[], Any]]
ON_CUDA = ("pyjuice",)
PSEUDOCOUNT = 0.1
STRUCTURES = ("quad", "binary", "latent_tree", "hmm", "tied_hmm", "rat")


@dataclass(frozen=True)
class Problem:
    """One circuit and what it is asked.

    Args:
        circuit: ours, with random parameters.
        x: (B, D) long, complete.
        log_weights: (B, D, C), soft evidence.
    """

    circuit: Circuit
    x: Tensor
    log_weights: Tensor


@dataclass(frozen=True)
class Peer:
    """A library and how to ask it.

    Args:
        name: as in the table above.
        version: as installed.
        structures: those of STRUCTURES that it can express with our region graph and K.
        build: from a problem to its calls.
    """

    name: str
    version: str
    structures: tuple[str, ...]
    build: Callable[[Problem], Calls]

    def prepare(
        self, structure: str, D: int, C: int, K: int, B: int, generator: torch.Generator, device: str = "cpu"
    ) -> Calls:
        """What can be timed; calling one runs it to the end and hands back its result.

        log_likelihood: log p(x), (B,), without gradients.
        forward_backward: log p(x), (B,), and the gradient in all parameters (of ours: the flows).
        marginals: p(X_i = v | w), (B, D, C).
        smoothing: the posterior of the hidden states, (B, D, K).
        e_step: expected counts of all parameters; log p(x), (B,) or their sum.
        em_step: the same, and new parameters from the counts, mixed with the old ones by 0, so that they stay.

        Args:
            structure: one of `structures`.
            D: variables.
            C: categories.
            K: units per region.
            B: rows of data and of evidence.
            generator: for parameters, data and evidence: the same seed gives every peer the same problem.
            device: where the circuit, data and evidence are.

        Raises:
            TiramisuError: when the peer cannot express the structure.
        """
        if structure not in self.structures:
            raise TiramisuError(f"{self.name} cannot express {structure!r}, only {', '.join(self.structures)}")
        return self.build(make_problem(structure, D, C, K, B, generator, device))


def region_graph(structure: str, D: int, C: int, K: int, generator: torch.Generator) -> RegionGraph:
    """The structure of that name over D variables.

    quad: the most square grid of D pixels. binary: neighbours merged pairwise. latent_tree: a hidden Chow-Liu tree
    whose tree is random. hmm, tied_hmm: a chain. rat: four random splits to depth two.

    Raises:
        TiramisuError: for an unknown name.
    """
    sizes: dict[str, Any] = {"num_categories": C, "num_latents": K}
    if structure == "quad":
        height = max(h for h in range(1, math.isqrt(D) + 1) if D % h == 0)
        return structures.quad_tree(height, D // height, **sizes)
    if structure == "binary":
        return structures.quad_tree(1, D, **sizes)
    if structure == "latent_tree":
        parents = [-1, *(int(torch.randint(i, (), generator=generator)) for i in range(1, D))]
        return structures.latent_tree(parents, **sizes)
    if structure in ("hmm", "tied_hmm"):
        return structures.hmm(D, tied=structure == "tied_hmm", **sizes)
    if structure == "rat":
        return structures.rat_spn(D, depth=2, repetitions=4, generator=generator, **sizes)
    raise TiramisuError(f"unknown structure {structure!r}; known: {', '.join(STRUCTURES)}")


def make_problem(
    structure: str, D: int, C: int, K: int, B: int, generator: torch.Generator, device: str = "cpu"
) -> Problem:
    """A random circuit of that structure, random data and random soft evidence; the same on every device."""
    circuit = Circuit(region_graph(structure, D, C, K, generator), generator=generator)
    x = torch.randint(C, (B, D), generator=generator)
    log_weights = torch.randn(B, D, C, generator=generator)
    return Problem(circuit.to(device), x.to(device), log_weights.to(device))


def available_peers() -> dict[str, Peer]:
    """The peers that are installed, by name."""
    return {peer.name: peer for peer in (_find(*row) for row in _ADAPTERS) if peer is not None}


def ours() -> Peer:
    """This package, asked the same."""
    return Peer("tiramisu-edu", _version("tiramisu-edu"), STRUCTURES, _our_calls)


def differentiate(log_likelihood: Callable[[], Tensor], module: torch.nn.Module) -> Tensor:
    """Forward and backward of one batch, gradients from scratch."""
    module.zero_grad(set_to_none=True)
    result = log_likelihood()
    result.sum().backward()
    return result.detach()


def _our_calls(problem: Problem) -> Calls:
    circuit, x = problem.circuit, problem.x
    tables = circuit.tables()
    kept, counts = ([torch.zeros_like(table) for table in tables] for _ in range(2))

    @torch.no_grad()
    def e_step() -> Tensor:
        for count in counts:
            count.zero_()
        log_z = accumulate(circuit, tables, x, counts)
        for count, table in zip(counts, tables):
            count.mul_(table)
        return log_z

    calls = {
        "log_likelihood": torch.no_grad()(lambda: circuit.log_likelihood(x)),
        "forward_backward": lambda: differentiate(lambda: circuit.log_likelihood(x), circuit),
        "marginals": lambda: circuit.posterior_marginals(problem.log_weights),
        "e_step": e_step,
        "em_step": lambda: em_step(circuit, x, pseudocount=PSEUDOCOUNT, step=0.0, gradients=kept),
    }
    levels = [level for level in circuit.plan.levels if level.is_input]
    if len(levels) == 1 and circuit.plan.is_simple:
        calls["smoothing"] = lambda: _states(circuit, x)
    return calls


@torch.no_grad()
def _states(circuit: Circuit, x: Tensor) -> Tensor:
    """Posterior of the unit reached at each variable's input, (B, D, K): of an HMM its smoothed states."""
    evidence, tables = Evidence(values=x.T), circuit.tables()
    messages = fast.forward(circuit.plan, tables, evidence, keep=True, tapes=circuit.tapes)
    fast.backward(circuit.plan, tables, evidence, messages)
    (inputs,) = messages.tape.inputs
    return inputs.flow[inputs.variables.argsort()].transpose(0, 1)


def _safe_calls(problem: Problem) -> Calls:
    circuit = copy.deepcopy(problem.circuit)
    circuit.engine_name = "safe"
    calls = _our_calls(replace(problem, circuit=circuit))
    return {name: calls[name] for name in ("log_likelihood", "forward_backward", "marginals")}


_UNTIED = tuple(name for name in STRUCTURES if name != "tied_hmm")
_ADAPTERS: tuple[tuple[str, str, str, tuple[str, ...], str], ...] = (
    # name, module to import, distribution, structures, adapter in this package
    ("safe", "torch", "torch", STRUCTURES, "peers:_safe_calls"),
    ("cirkit", "cirkit", "libcirkit", _UNTIED, "peer_cirkit:calls"),
    ("spflow", "spflow.modules.sums", "spflow", _UNTIED, "peer_spflow:calls"),
    ("simple-einet", "simple_einet.einet", "simple-einet", ("binary",), "peer_simple_einet:calls"),
    ("dynamax", "dynamax.hidden_markov_model", "dynamax", ("tied_hmm",), "peer_dynamax:calls"),
    ("pyjuice", "pyjuice", "pyjuice", _UNTIED, "peer_pyjuice:calls"),
)


def _find(name: str, module: str, distribution: str, structures: tuple[str, ...], adapter: str) -> Peer | None:
    try:
        import_module(module)
    except ImportError:
        return None
    file, function = adapter.split(":")
    build = getattr(import_module(f".{file}", __package__), function)
    return Peer(name, _version(distribution), structures, build)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
