"""Makes the files of test_pyjuice.py: circuits that PyJuice built and saved, and the log-likelihoods it computed.

    pip install pyjuice==2.6.3 && python tests/circuits/make_pyjuice_files.py

PyJuice computes on CUDA only. Without a card its Triton kernels run under Triton's interpreter here, after three of the
calls by which it addresses the card are turned into no-ops: the numbers are those of its own kernels, in float32.
"""

import contextlib
import importlib.metadata
import json
import os
import random
from pathlib import Path

if not Path("/dev/nvidia0").exists():
    os.environ["TRITON_INTERPRET"] = "1"

import pyjuice
import torch
from pyjuice.nodes.distributions import Bernoulli, Categorical, Literal

FOLDER = Path(__file__).parents[1] / "data" / "pyjuice"
BATCH = 24


class Card:
    """What PyJuice asks of the device of an input layer."""

    type, index = "cuda", 0


def pretend_to_have_a_card() -> None:
    torch.cuda.current_device = lambda: 0
    torch.cuda.device = lambda device: contextlib.nullcontext()
    torch.Tensor.cuda = lambda self, *args, **kwargs: self


def hmm():
    """Tied transitions and emissions, six states in three blocks of two."""
    return pyjuice.structures.HMM(seq_length=5, num_latents=6, num_emits=4, block_size=2)


def hclt():
    data = torch.randint(0, 5, (200, 7)) // torch.tensor([1, 1, 2, 2, 1, 1, 3])
    data[:, 1], data[:, 5] = (data[:, 0] + 1) % 5, data[:, 3]
    options = {"input_node_params": {"num_cats": 5}, "num_bins": 5, "sigma": 0.1}
    return pyjuice.structures.HCLT(data.float(), num_latents=8, block_size=4, **options)


def pd():
    """3 x 3 grid; shared regions with several partitions, block-diagonal sums over the pixels."""
    options = {"input_node_params": {"num_cats": 3}, "split_intervals": 1, "block_size": 2}
    return pyjuice.structures.PD((3, 3), num_latents=4, **options)


def rat():
    options = {"input_node_params": {"num_cats": 3}, "block_size": 4}
    return pyjuice.structures.RAT_SPN(num_vars=6, num_latents=4, depth=2, num_repetitions=2, **options)


def permuted():
    """Products whose blocks take their factors in another order, and block-sparse sums."""
    with pyjuice.set_block_size(2):
        a, b, c = (pyjuice.inputs(i, num_node_blocks=3, dist=Categorical(num_cats=3)) for i in range(3))
        ab = pyjuice.multiply(a, b, edge_ids=torch.tensor([[0, 2], [1, 0], [2, 2], [0, 1]]))
        edges = torch.tensor([[0, 0, 1, 1, 2, 2, 2], [0, 3, 1, 2, 0, 1, 3]])
        mixed = pyjuice.summate(ab, edge_ids=edges)
        abc = pyjuice.multiply(mixed, c, edge_ids=torch.tensor([[2, 0], [0, 1], [1, 2]]))
        return pyjuice.summate(abc, num_node_blocks=1, block_size=1)


def sparse():
    """Products that pick single units, over inputs of three distributions."""
    with pyjuice.set_block_size(2):
        a = pyjuice.inputs(0, num_node_blocks=2, dist=Categorical(num_cats=4))
        b = pyjuice.inputs(1, num_node_blocks=2, dist=Bernoulli())
        one = pyjuice.inputs(2, num_node_blocks=1, dist=Literal(lit=1))
        free = pyjuice.inputs(2, num_node_blocks=1, dist=Categorical(num_cats=3))
        c = pyjuice.summate(one, free, num_node_blocks=2)
        picks = torch.tensor([[0, 3, 1], [1, 1, 0], [3, 0, 2], [2, 2, 3]])
        abc = pyjuice.multiply(a, b, c, edge_ids=picks, sparse_edges=True)
        return pyjuice.summate(abc, num_node_blocks=1, block_size=1)


def inputs_of(root) -> torch.Tensor:
    """Random values (BATCH, D); each variable within the categories of its inputs."""
    counts = {}
    for node in root:
        if node.is_input():
            variable = node.scope.to_list()[0]
            counts[variable] = max(counts.get(variable, 0), getattr(node.dist, "num_cats", 2))
    return torch.stack([torch.randint(counts[i], (BATCH,)) for i in sorted(counts)], 1)


def main() -> None:
    has_card = torch.cuda.is_available()
    if not has_card:
        pretend_to_have_a_card()
    FOLDER.mkdir(parents=True, exist_ok=True)
    expected = {"pyjuice": importlib.metadata.version("pyjuice")}
    for seed, build in enumerate((hmm, hclt, pd, rat, permuted, sparse)):
        torch.manual_seed(seed)
        random.seed(seed)
        root = build()
        root.init_parameters(perturbation=4.0)
        model = pyjuice.compile(root)
        if has_card:
            model.to("cuda")
        else:
            for layer in model.input_layer_group:
                layer.device = Card()
        x = inputs_of(root)
        missing = torch.rand(x.shape) < 0.3
        device = "cuda" if has_card else "cpu"
        complete = model(x.to(device))[:, 0]
        partial = model(x.to(device), missing_mask=missing.to(device))[:, 0]
        pyjuice.save(str(FOLDER / f"{build.__name__}.jpc"), model)
        expected[build.__name__] = {
            "x": x.tolist(),
            "with_missing": x.masked_fill(missing, -1).tolist(),
            "log_likelihood": [round(value, 7) for value in complete.tolist()],
            "log_likelihood_with_missing": [round(value, 7) for value in partial.tolist()],
        }
    (FOLDER / "expected.json").write_text(json.dumps(expected), encoding="utf-8")


if __name__ == "__main__":
    main()
