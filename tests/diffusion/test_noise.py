"""Draws that serve a generator of one device and tensors of another."""

import ast
from pathlib import Path

import pytest
import torch

import tiramisu_edu
from tiramisu_edu.diffusion.noise import categorical, standard_normal

PACKAGE = Path(tiramisu_edu.__file__).parent
DRAWS = {"randn", "rand", "randint", "randn_like", "rand_like", "multinomial", "bernoulli", "normal", "normal_"}
FILES = [path for folder in ("diffusion", "steering") for path in sorted((PACKAGE / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_only_one_file_draws(path):
    """Elsewhere a CPU generator could meet a tensor of a card, which no machine without one can show."""
    calls = (node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
    found = {call.attr for call in calls if isinstance(call, ast.Attribute)} & DRAWS
    assert not found or path.name == "noise.py"


class Elsewhere(torch.utils._python_dispatch.TorchDispatchMode):
    """Notes the device that random numbers are made on."""

    def __init__(self):
        super().__init__()
        self.devices = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if "randn" in str(function):
            self.devices.append(out.device.type)
        return out


def test_noise_is_drawn_where_the_generator_lives():
    with Elsewhere() as noted:
        noise = standard_normal(torch.empty(2, 3, device="meta"), torch.Generator().manual_seed(0))
    assert noise.device.type == "meta" and noted.devices == ["cpu"]


def test_categories_of_one_generator_per_image():
    """Each image's categories are those it would have alone, with the frequencies asked for."""
    p = torch.tensor([0.2, 0.8]).expand(2, 4000, 2)
    drawn = categorical(p, [torch.Generator().manual_seed(s) for s in (0, 1)])
    assert torch.equal(drawn[1:], categorical(p[1:], torch.Generator().manual_seed(1)))
    assert drawn.double().mean().item() == pytest.approx(0.8, abs=4 * 0.4 / 8000**0.5)
