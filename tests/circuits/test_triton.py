"""The Triton kernels against readable twins, the engine they make against enumeration; on the GPU where there is one.

Without a GPU the kernels are interpreted, and `test_triton_compiles` compiles them. What only a card shows then:
rounding in TF32, races between programs (atomic additions, which program writes what), registers and shared memory that
do not suffice, speed. Run this file on a card after every change of a kernel.
"""

import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.circuits.oracle import (
    EVIDENCE_KINDS,
    graphs,
    joint_table,
    marginals,
    random_circuit,
    random_evidence,
    weighted,
)
from tests.circuits.triton_twins import Case, edge_flows, hard_edge_flows, hard_log_u, log_u_of, product_flows
from tiramisu_edu.circuits import engines, structures
from tiramisu_edu.circuits.engines import fast, safe
from tiramisu_edu.circuits.engines.messages import Evidence
from tiramisu_edu.circuits.regions import Region, RegionGraph
from tiramisu_edu.errors import TiramisuError

triton = pytest.importorskip("triton", reason="triton is not installed: it is made for Linux only")
DEVICE = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
if DEVICE.type == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("no GPU, and TRITON_INTERPRET is not 1: the kernels cannot run", allow_module_level=True)
engine = engines.choose("triton", DEVICE, torch.float32)
seeds = st.integers(0, 2**31)

SHAPES = [  # R, K, P, J, S, B: M = P J
    (1, 1, 1, 1, 1, 1),
    (2, 3, 1, 2, 2, 5),
    (2, 3, 3, 4, 2, 17),
    (1, 17, 1, 33, 3, 5),
    (1, 33, 1, 70, 2, 17),
    (2, 1, 2, 17, 6, 1),
    (1, 70, 1, 7, 1, 3),
    (2, 3, 1, 5, 1, 70),
]


def close(found, expected, terms=0.0):
    """Whether two tensors agree to 1e-5 of the largest of the entry, 1, and the terms it is the sum of."""
    found, expected = found.double().cpu(), expected.cpu()
    is_impossible = expected == -torch.inf
    assert torch.equal(found == -torch.inf, is_impossible)
    error = (found - expected).abs() / (expected.abs() + torch.as_tensor(terms).abs().cpu()).clamp_min(1)
    return bool((error[~is_impossible] < 1e-5).all())


def arguments(case, constant):
    """The weights and the messages of a level as its kernels take them."""
    indices = engine.level_indices(case.level, constant, DEVICE)
    source = engine.Source(case.units, case.scales, indices.children, *case.units.stride())
    return engine.Weights(case.theta, indices.theta_rows), source


@pytest.mark.parametrize("kind", ["plain", "peaked", "impossible"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sum_kernels_equal_their_twins(shape, kind):
    for is_shared in (False, True):
        case = Case.random(*shape, kind=kind, is_shared=is_shared, seed=sum(shape)).to(DEVICE)
        level, (weights, source) = case.level, arguments(case, case.constant)
        out, scale = case.units.new_empty(case.flow.shape), case.units.new_empty(case.flow.shape[0], 1, shape[-1])
        kept = engine.sum_forward(level, weights, source, out, scale, True)
        assert close(out + scale, log_u_of(case), terms=scale)
        out.fill_(torch.nan)
        engine.sum_forward(level, weights, source, out, scale, False)
        assert close(out + scale, log_u_of(case), terms=scale)

        target, own = torch.zeros_like(case.units), engine.Own(kept.maximum, out, kept.u, case.flow)
        engine.sum_backward(level, weights, source, own, target)
        assert close(target[: case.constant], product_flows(case)[: case.constant])
        gradient = torch.ones_like(case.theta)
        engine.sum_gradient(level, weights, source, own, gradient)
        assert gradient.isfinite().all()
        assert close((gradient - 1) * case.theta, edge_flows(case))


def test_the_likelier_partition_keeps_its_digits():
    """Units near 1 under a log scale of 1e5, where float32 has two digits behind the point, beside a scale of 0."""
    case = Case.random(1, 3, 2, 4, 1, 17, kind="plain", is_shared=False, seed=0).to(DEVICE)
    weights, source = arguments(case, case.constant)
    case.units.copy_(torch.randn(case.units.shape, generator=torch.Generator().manual_seed(0)))
    case.scales[source.children[0, 0]], case.scales[source.children[0, 1]] = 0, 1e5
    out, target = torch.empty_like(case.flow), case.units.clone()
    kept = engine.sum_forward(case.level, weights, source, out, case.units.new_empty(1, 1, 17), True)
    engine.sum_backward(case.level, weights, source, engine.Own(kept.maximum, out, kept.u, case.flow), target)
    assert close(target[: case.constant], product_flows(case)[: case.constant])


@pytest.mark.parametrize(("K", "C", "B"), [(1, 2, 1), (3, 40, 5), (17, 7, 17), (33, 3, 40)])
def test_hard_kernels_equal_their_twins(K, C, B):
    for is_shared in (False, True):
        case = Case.random(3, K, 1, C, 1, B, kind="impossible", is_shared=is_shared, seed=K, is_input=True).to(DEVICE)
        g = torch.Generator().manual_seed(C)
        values = torch.randint(-1, C, (B, len(case.units)), generator=g).T.to(DEVICE)
        weights, source = arguments(case, -1)
        given = engine.Values(values, source.children, *values.stride())
        out = torch.empty_like(case.flow)
        kept = engine.hard_forward(case.level, weights, given, out, True)
        assert close(out, hard_log_u(case, values))
        assert torch.allclose(kept.u.log(), out)
        flow = case.flow.masked_fill(out == -torch.inf, 0.0)
        gradient = torch.ones_like(case.theta)
        engine.hard_gradient(case.level, weights, given, engine.Own(kept.u, out, kept.u, flow), gradient)
        assert close((gradient - 1) * case.theta, hard_edge_flows(case, values, flow))


def run(circuit, evidence, **asked):
    """Messages and their backward pass on the device, with what is asked for in `asked`."""
    plan, parameters = circuit.to(DEVICE).plan, [table.detach() for table in circuit.tables()]
    messages = engine.forward(plan, parameters, evidence, keep=True)
    gradients = [torch.zeros_like(theta) for theta in parameters]
    engine.backward(plan, parameters, evidence, messages, gradients=gradients, **asked)
    edge_flows = [(gradient * theta).cpu() for gradient, theta in zip(gradients, parameters)]
    return engine.log_partition(plan, messages).cpu(), edge_flows


def every_kind_of_evidence(circuit, seed, batch=3):
    sizes = (batch, circuit.num_variables, circuit.num_categories)
    return torch.cat([random_evidence(kind, *sizes, seed) for kind in EVIDENCE_KINDS]).float()


def without_subnormals(circuit):
    """Parameters below 1e-30 become 0: one over them would be no float, and a gradient is an edge flow over them."""
    with torch.no_grad():
        for theta in circuit.parameter_list:
            theta[theta.abs() < 1e-30] = 0
    return circuit


@settings(max_examples=20, deadline=None)
@given(graph=graphs(), seed=seeds, peakedness=st.sampled_from([1.0, 5.0, 30.0]))
def test_engine_equals_enumeration(graph, seed, peakedness):
    circuit = without_subnormals(random_circuit(graph, seed, peakedness, torch.float32))
    log_weights = every_kind_of_evidence(circuit, seed)
    leaves = [table.detach().double().requires_grad_() for table in circuit.tables()]
    joint = joint_table(circuit, leaves)
    tables = [weighted(joint, row) for row in log_weights]
    possible = torch.stack([table.sum() for table in tables]).detach() > 1e-300
    upstream = 2 * torch.randn(len(tables), generator=torch.Generator().manual_seed(seed)).sign() * possible
    evidence = Evidence(log_weights=log_weights.permute(1, 2, 0).to(DEVICE))

    found = torch.zeros_like(evidence.log_weights)
    log_z, edge_flows = run(circuit, evidence, root_flow=upstream.to(DEVICE), marginals=found)
    assert not found.isnan().any() and not log_z.isnan().any()
    log_p = torch.zeros((), dtype=torch.float64)
    for b in possible.nonzero()[:, 0].tolist():
        expected = tables[b].sum().log()
        log_p = log_p + upstream[b] * expected
        assert abs(log_z[b] - expected.detach()) < 1e-5 * max(1, abs(expected.item()))
        assert (found[..., b].cpu().double() / upstream[b] - marginals(tables[b].detach())).abs().max() < 1e-5
    if possible.any():
        for flow, gradient, theta in zip(edge_flows, torch.autograd.grad(log_p, leaves), leaves):
            assert (flow - gradient * theta.detach()).abs().max() < 1e-5 * max(1.0, float(flow.abs().max()))


@settings(max_examples=15, deadline=None)
@given(graph=graphs(), seed=seeds, peakedness=st.sampled_from([1.0, 30.0]))
def test_expected_counts_equal_enumeration(graph, seed, peakedness):
    circuit = without_subnormals(random_circuit(graph, seed, peakedness, torch.float32))
    leaves = [table.detach().double().requires_grad_() for table in circuit.tables()]
    joint = joint_table(circuit, leaves)
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(-1, circuit.num_categories, (12, circuit.num_variables), generator=g)
    p = torch.stack([joint[tuple(slice(None) if v < 0 else v for v in row)].sum() for row in x.tolist()])
    x, p = x[p > 1e-300], p[p > 1e-300]
    log_p, edge_flows = run(circuit, Evidence(values=x.T.to(DEVICE)))
    assert ((log_p - p.log()).abs() < 1e-5 * p.log().abs().clamp_min(1)).all()
    if len(x):
        gradients = torch.autograd.grad(p.log().sum(), leaves)
        for flow, gradient, theta in zip(edge_flows, gradients, leaves):
            assert (flow - gradient * theta.detach()).abs().max() < 1e-5 * max(1.0, float(flow.max()))


def shared_regions():
    """x_0 x_1 x_2 split both ways, so that inputs have two parents each."""
    inputs = [Region((i,), 2) for i in range(3)]
    pairs = [Region((0, 1), 2, ((0, 1),)), Region((1, 2), 2, ((1, 2),))]
    return RegionGraph((*inputs, *pairs, Region((0, 1, 2), 1, ((3, 2), (0, 4)))), 3, 3)


def test_queries_are_those_of_the_safe_engine(request):
    """Tied parameters, shared regions, partitions of unequal scale, products of many children; new memory is NaN."""
    request.addfinalizer(lambda: torch.use_deterministic_algorithms(False))
    torch.use_deterministic_algorithms(DEVICE.type == "cpu")  # fills new memory; on a GPU it would forbid cuBLAS
    g = torch.Generator().manual_seed(0)
    sizes = {"num_categories": 3, "num_latents": 3}
    for graph in (
        structures.hmm(3, tied=True, **sizes),
        structures.rat_spn(4, depth=2, repetitions=2, generator=g, **sizes),
        structures.mixture(6, **sizes),
        shared_regions(),
    ):
        circuit = random_circuit(graph, 1, 3.0, torch.float32).to(DEVICE).requires_grad_(False)
        weights = every_kind_of_evidence(circuit, 2, batch=1)
        shift = 1e6 * torch.randn(len(weights), circuit.num_variables, 1, generator=g).sign()
        shifted = (8 * weights).round() / 8 + shift  # what float32 holds beside the constant
        plan, tables = circuit.plan, circuit.tables()
        for log_weights in (weights, shifted):
            evidence = Evidence(log_weights=log_weights.permute(1, 2, 0).to(DEVICE))
            ours, theirs = (e.forward(plan, tables, evidence, keep=True) for e in (engine, safe))
            assert close(engine.log_partition(plan, ours), safe.log_partition(plan, theirs))
            marginals = [torch.zeros_like(evidence.log_weights) for _ in range(2)]
            engine.backward(plan, tables, evidence, ours, marginals=marginals[0])
            safe.backward(plan, tables, evidence, theirs, marginals=marginals[1])
            assert close(*marginals)
            root = len(plan.levels) - 1
            reached = tuple(torch.arange(len(weights), device=DEVICE) * only for only in (0, 1, 0))
            odds = [e.odds(plan, tables, m, root, reached) for e, m in ((engine, ours), (safe, theirs))]
            assert close(*[o / o.sum(-1, keepdim=True) for o in odds])


def test_no_samples_are_no_work():
    circuit = random_circuit(structures.mixture(3, num_categories=2, num_latents=2), 0, 1.0, torch.float32)
    log_z, edge_flows = run(circuit, Evidence(values=torch.zeros(3, 0, dtype=torch.long, device=DEVICE)))
    assert log_z.shape == (0,)
    assert all((flow == 0).all() for flow in edge_flows)


def test_the_engine_is_chosen_by_device_and_dtype(monkeypatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    assert engines.choose("safe", gpu, torch.float32) is safe
    assert engines.choose("fast", gpu, torch.float32) is fast
    assert engines.choose(None, cpu, torch.float32) is fast
    assert engines.choose(None, gpu, torch.float64) is fast
    assert engines.choose(None, gpu, torch.float32) is engine
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert engines.choose("triton", cpu, torch.float32) is engine
    with pytest.raises(TiramisuError, match="unknown engine 'jax'; known: fast, safe, triton"):
        engines.choose("jax", cpu, torch.float32)
    with pytest.raises(
        TiramisuError, match=r"triton engine cannot run here: .* float32, not float64. Use engine='fast'"
    ):
        engines.choose("triton", gpu, torch.float64)
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
        assert engines.choose(None, gpu, torch.float32) is fast
        with pytest.raises(TiramisuError, match=r"compute capability 8\.0 or newer, not 7\.5"):
            engines.choose("triton", gpu, torch.float32)
    with monkeypatch.context() as patch:
        patch.setattr(triton, "__version__", "3.5.1")
        with pytest.raises(TiramisuError, match=r"need triton 3\.6 or newer, not 3\.5\.1"):
            engines.choose("triton", cpu, torch.float32)
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    assert engines.choose(None, gpu, torch.float32) is fast
    with pytest.raises(TiramisuError, match="triton is not installed"):
        engines.choose("triton", gpu, torch.float32)
    monkeypatch.delenv("TRITON_INTERPRET")
    with pytest.raises(TiramisuError, match="the parameters are on the cpu, not on a GPU"):
        engines.choose("triton", cpu, torch.float32)
