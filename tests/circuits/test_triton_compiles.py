"""What of the Triton kernels is compiled, for which calls: without a card, by Triton's own compiler and launcher."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("triton", reason="triton is not installed: it is made for Linux only")


def printed_by(code, tmp_path):
    """What a process prints in which kernels are compiled, not interpreted."""
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def test_the_kernels_compile_for_a_gpu(tmp_path):
    """Types, shapes and layouts, which the interpreter does not check, for compute capability 9.0; no GPU needed."""
    code = """
        import triton
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource
        from tiramisu_edu.circuits.engines import triton_kernels as kernels
        from tiramisu_edu.circuits.engines.triton_tiles import How, Own, Shape, Source, Target, Values, Weights

        f, i, n = "*fp32", "*i32", "i32"
        kinds = {
            "weights": Weights(f, i), "source": Source(f, f, i, n, n, n), "own": Own(f, f, f, f),
            "target": Target(f, n, n, n), "given": Values("*i64", i, n, n), "shape": Shape(n, n, n),
            "N": n, "B": n, "scales": f, "gradient": f, "HOW": "constexpr",
        }
        contiguous = {"source": Source(f, f, i, *3 * ["constexpr"]), "target": Target(f, *3 * ["constexpr"])}
        for name in ("sum_forward", "sum_backward", "sum_gradient", "hard_forward", "hard_gradient"):
            kernel = getattr(kernels, name)
            for arguments in (kinds, kinds | contiguous) if name.startswith("sum") else (kinds,):
                signature = {name: arguments[name] for name in kernel.arg_names}
                known = {"HOW": How(32, 32, 16, 2, True, "tf32x3")}
                for at, kind in enumerate(signature.values()):
                    if isinstance(kind, tuple):
                        known |= {(at, field): None for field, of in enumerate(kind) if of == "constexpr"}
                source, options = ASTSource(kernel, signature, known), {"enable_fp_fusion": True}
                assert triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["cubin"]
    """
    printed_by(code, tmp_path)


COUNT = """
    import json, torch
    from triton.backends.nvidia.compiler import CUDABackend
    from triton.runtime.jit import native_specialize_impl
    from tiramisu_edu.circuits import structures
    from tiramisu_edu.circuits.circuit import Circuit
    from tiramisu_edu.circuits.engines import triton_engine as engine, triton_kernels as kernels
    from tiramisu_edu.circuits.engines.messages import Evidence
    from benchmarks.limits import binary_tree

    engine._multiprocessors, engine._precision = (lambda device: 132), (lambda device: "tf32x3")
    compiled = set()

    def watch(name):
        kernel = getattr(kernels, name)

        def run(*arguments, grid, warmup, **options):  # launches nothing
            key = [name, arguments[-1], options]
            for value, of in zip(arguments[:-1], kernel.params, strict=False):
                flags = False, not of.do_not_specialize, not of.do_not_specialize_on_alignment
                key.append(native_specialize_impl(CUDABackend, value, *flags))
            compiled.add(str(key))

        kernel.run = run

    for name in ("sum_forward", "sum_backward", "sum_gradient", "hard_forward", "hard_gradient"):
        watch(name)

    def queries(circuit, batch):
        compiled.clear()
        plan, tables = circuit.plan, [table.detach() for table in circuit.tables()]
        log_weights = torch.zeros(batch, circuit.num_variables, circuit.num_categories)
        for rows in (log_weights, log_weights[..., 0].long()):
            evidence = Evidence.of(rows)
            engine.forward(plan, tables, evidence)
            messages = engine.forward(plan, tables, evidence, keep=True)
            soft = rows.is_floating_point()
            gradients = None if soft else [torch.zeros_like(table) for table in tables]
            marginals = torch.empty_like(evidence.given) if soft else None
            engine.backward(plan, tables, evidence, messages, gradients=gradients, marginals=marginals)
        return sorted(compiled)

    tree = binary_tree(16, num_categories=40, num_latents=32)
    graphs = [tree, structures.quad_tree(4, 4, num_categories=40, num_latents=64)]
    circuits = [Circuit(graph, generator=torch.Generator().manual_seed(0)) for graph in graphs]
    print(json.dumps([[queries(circuit, batch) for batch in range(1, 257)] for circuit in circuits]))
"""


def test_batch_sizes_share_what_is_compiled(tmp_path):
    """Of marginals, likelihoods and counts: compiled once per width of tile, 16, 32 and 64, not per batch size."""
    for found in json.loads(printed_by(COUNT, tmp_path)):
        for narrow, wide in ((1, 16), (17, 32), (33, 256)):
            assert all(keys == found[wide - 1] for keys in found[narrow - 1 : wide])
        assert len(found[0]) <= 20 and len(set().union(*found)) <= 60
