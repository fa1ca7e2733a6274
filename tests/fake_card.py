"""A device that is not there: tensors of the processor that pass for a card's, and the rules of mixing the two.

Finds without a card what only a card would refuse: a CPU generator for a draw on the card, operands on two devices, an
array made of a card's tensor. Kernels, speed and memory it does not know.
"""

import torch
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import tree_flatten, tree_map

CARD = torch.device("cuda", 0)
CROSSING = {"torch.Tensor.to", "torch.Tensor.copy_", "torch.Tensor.type_as", "torch.Tensor.data.__set__"}
NOT_THERE = {"torch.Tensor.numpy", "torch.Tensor.__array__", "torch.from_numpy"}


class CardGenerator(torch.Generator):
    """A generator that passes for one of the card."""

    device = CARD


class FakeCard(TorchFunctionMode):
    """Within it `device="cuda"` works. A tensor is on the card if its memory was made there."""

    def __init__(self):
        super().__init__()
        self.memory = {}  # all that was made there is held, so that no address comes twice

    def has(self, x):
        return isinstance(x, torch.Tensor) and x.untyped_storage()._cdata in self.memory

    def put(self, x):
        if isinstance(x, torch.Tensor):
            storage = x.untyped_storage()
            self.memory[storage._cdata] = storage

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs, name = dict(kwargs or {}), resolve_name(function) or str(function)
        if name in ("torch.Tensor.device.__get__", "torch.Tensor.is_cuda.__get__", "torch.Tensor.is_cpu.__get__"):
            there = self.has(args[0])
            return {"device": CARD if there else torch.device("cpu"), "is_cuda": there, "is_cpu": not there}[
                name.split(".")[2]
            ]
        if name.endswith("_parse_to"):  # of arguments only
            return function(*args, **kwargs)
        wanted = [d for d in map(as_device, tree_flatten((args, kwargs))[0]) if d is not None]
        tensors = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, torch.Tensor)]
        there = [x for x in tensors if self.has(x)]
        target = wanted[-1].type == "cuda" if wanted else bool(there)
        if name in CROSSING:
            if name == "torch.Tensor.copy_":
                target = self.has(args[0])
            elif len(tensors) > 1 and not wanted:
                target = self.has(tensors[-1])
        elif name in ("torch.Tensor.cpu", "torch.Tensor.tolist", "torch.Tensor.item"):
            target = False
        elif name in NOT_THERE and there:
            raise TypeError(f"can't convert {CARD} device type tensor to numpy")
        elif name not in ("torch.Tensor.__setitem__", "torch.Tensor.__getitem__") or not self.has(args[0]):
            if there and any(x.ndim and not self.has(x) for x in tensors):
                raise RuntimeError(f"{name}: expected all tensors to be on the same device, found cuda:0 and cpu")
            if any(not x.ndim for x in there) and any(x.ndim for x in tensors if not self.has(x)):
                raise RuntimeError(f"{name}: expected all tensors to be on the same device, found cuda:0 and cpu")
        generator = kwargs.get("generator")
        if generator is not None and (generator.device.type == "cuda") != target:
            raise RuntimeError(f"{name}: expected a {'cuda' if target else 'cpu'} generator, found {generator.device}")
        args, kwargs = tree_map(on_cpu, (args, kwargs))
        made = function(*args, **kwargs)
        crosses = bool(there) != target and made is not None and name in (*CROSSING, "torch.Tensor.cpu")
        if crosses and name not in ("torch.Tensor.copy_", "torch.Tensor.data.__set__"):
            made = made.clone()  # memory of its own
        if target and name != "torch.Tensor.data.__set__":
            tree_map(self.put, made)
        return made


def as_device(x):
    """A device, or the name of one; None for anything else."""
    if isinstance(x, torch.device):
        return x
    return torch.device(x) if isinstance(x, str) and x.split(":")[0] in ("cuda", "cpu") else None


def on_cpu(x):
    device = as_device(x)
    return torch.device("cpu") if device is not None and device.type == "cuda" else x
