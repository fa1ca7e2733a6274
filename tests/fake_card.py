"""A device that is not there: tensors of the processor that pass for a card's, and the rules of mixing the two.

Finds without a card what only a card would refuse: a CPU generator for a draw on the card, operands on two devices, an
array made of a card's tensor. Kernels, speed and memory it does not know.
"""

import torch
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import tree_flatten, tree_map

CARD = torch.device("cuda", 0)
CROSSING = {"to", "copy_", "type_as", "data.__set__"}  # methods that take tensors of both
TO_THE_PROCESSOR = {"cpu", "tolist", "item", "__bool__", "__float__", "__int__", "__index__"}
ARRAYS = {"numpy", "__array__"}
FREE = ("_parse_to", "_has_compatible_shallow_copy_type", "torch.device")  # read no numbers


class CardGenerator(torch.Generator):
    """A generator that passes for one of the card."""

    device = CARD


class FakeCard(TorchFunctionMode):
    """Within it `device="cuda"` works. A tensor is on the card if its memory was made there."""

    def __init__(self):
        super().__init__()
        self.memory = {}  # all that was made there is held, so that no address comes twice

    def has(self, x):
        return x.untyped_storage()._cdata in self.memory

    def put(self, x):
        if isinstance(x, torch.Tensor):
            storage = x.untyped_storage()
            self.memory[storage._cdata] = storage

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs, name = dict(kwargs or {}), resolve_name(function) or str(function)
        method = name.removeprefix("torch.Tensor.")
        if any(word in name for word in FREE):
            return function(*args, **kwargs)
        if method in ("device.__get__", "is_cuda.__get__", "is_cpu.__get__"):
            there = self.has(args[0])
            return {"device": CARD if there else torch.device("cpu"), "is_cuda": there, "is_cpu": not there}[
                method.split(".")[0]
            ]
        operands = tree_flatten((args, kwargs))[0]
        tensors = [x for x in operands if isinstance(x, torch.Tensor)]
        devices = [device for device in map(as_device, operands) if device is not None]
        target = self.target(method, tensors, devices)
        self.check(method, tensors, target, kwargs.get("generator"))
        args, kwargs = tree_map(on_cpu, (args, kwargs))
        made = function(*args, **kwargs)
        if method in ("to", "cpu", "type_as") and target != self.has(tensors[0]):
            made = made.clone()  # memory of its own
        if target and method != "data.__set__":
            tree_map(self.put, made)
        return made

    def target(self, method, tensors, devices):
        """Whether the result is on the card."""
        if method in TO_THE_PROCESSOR:
            return False
        if devices:
            return devices[-1].type == "cuda"
        if method in ("copy_", "__setitem__", "__getitem__"):
            return self.has(tensors[0])
        return self.has(tensors[-1]) if method in CROSSING else any(map(self.has, tensors))

    def check(self, method, tensors, target, generator):
        """Raise as a card would."""
        there, here = ([x for x in tensors if self.has(x) is on] for on in (True, False))
        if method in ARRAYS and there:
            raise TypeError(f"can't convert {CARD} device type tensor to numpy")
        if generator is not None and (generator.device.type == "cuda") != target:
            raise RuntimeError(f"{method}: expected a {'cuda' if target else 'cpu'} generator, not {generator.device}")
        is_index = method in ("__getitem__", "__setitem__") and self.has(tensors[0])  # may be on either
        mixed = there and any(x.ndim for x in here)  # a number of the processor goes with anything
        if mixed and method not in CROSSING and not is_index:
            raise RuntimeError(f"{method}: expected all tensors to be on the same device, found cuda:0 and cpu")


def as_device(x):
    """A device, or the name of one; None for anything else."""
    if isinstance(x, torch.device):
        return x
    return torch.device(x) if isinstance(x, str) and x.split(":")[0] in ("cuda", "cpu") else None


def on_cpu(x):
    device = as_device(x)
    return torch.device("cpu") if device is not None and device.type == "cuda" else x
