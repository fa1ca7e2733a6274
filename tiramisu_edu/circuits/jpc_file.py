"""Reading PyJuice's `.jpc` files without running anything that is in them.

A `.jpc` file is a pickle: a list of dictionaries, one per vector of nodes, children first, holding numpy arrays and,
pickled once more, the input distribution. An ordinary unpickler would import and call whatever the file names. This
one imports nothing: the names of numpy's arrays and of PyJuice's distributions stand for classes of its own, and any
other name is an error. It is Python's own unpickler written in Python, which takes no more memory than the file has
bytes, whatever the file claims.
"""

from __future__ import annotations

import io
import pickle
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FileError

KINDS = ("Input", "Product", "Sum")
DTYPES = ("f2", "f4", "f8", "i4", "i8", "u1", "b1")


@dataclass(frozen=True)
class NodeVector:
    """`num_blocks` blocks of `block_size` inputs, products or sums over one scope.

    Attributes:
        kind: "Input", "Product" or "Sum".
        children: indices of earlier vectors.
        edges: of a product the factors' blocks (num_blocks, children) or units (num_units, children); of a sum pairs
            (2, edges) of a block of its own and one of the children's, counted through.
        parameters: of a sum (edges, block_size, block size of the children), of an input all numbers in one row.
        scope: of an input, its variables.
        distribution: of an input, its name.
        numbers: of an input, the whole numbers that its distribution has, such as `num_cats`.
        source: index of the vector whose parameters this one uses, or None.
        needs_outside_parameters: its weights come with every sample and are not stored.
    """

    kind: str
    num_blocks: int
    block_size: int
    children: tuple[int, ...]
    edges: np.ndarray
    parameters: np.ndarray | None
    scope: tuple[int, ...]
    distribution: str
    numbers: dict[str, int]
    source: int | None
    needs_outside_parameters: bool

    @property
    def num_units(self) -> int:
        return self.num_blocks * self.block_size


class _DType:
    """Stands for numpy.dtype: only plain numbers are let through."""

    def __init__(self, code: str, *_: object):
        if code not in DTYPES:
            raise pickle.UnpicklingError(f"an array of type {code!r}")
        self.value = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.value = self.value.newbyteorder(state[1])

    def read(self, data: bytes, shape: tuple[int, ...], order: str) -> np.ndarray:
        return np.frombuffer(bytes(data), self.value).reshape(shape, order=order).copy()  # type: ignore[call-overload]


class _Array:
    """Stands for numpy.ndarray: made of a buffer, or empty until its state fills it."""

    def __init__(self, data: bytes = b"", dtype: _DType | None = None, shape: tuple[int, ...] = (), order: str = "C"):
        self.value = np.empty((0, 0)) if dtype is None else dtype.read(data, shape, order)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        self.value = dtype.read(data, shape, "F" if is_fortran else "C")


_STAND_INS = {
    "ndarray": _Array,
    "_reconstruct": lambda *_: _Array(),
    "dtype": _DType,
    "_frombuffer": _Array,
    "scalar": lambda dtype, data: dtype.read(data, (), "C").item(),
}
_NUMPY_MODULES = ("numpy", *(f"numpy.{c}.{m}" for c in ("core", "_core") for m in ("multiarray", "numeric")))


class _Unpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in _NUMPY_MODULES and name in _STAND_INS:
            return _STAND_INS[name]
        if module.startswith("pyjuice.nodes.distributions."):
            return type(name, (), {})  # holds the attributes, has no method
        raise pickle.UnpicklingError(f"the name {module}.{name}")

    def load_bytearray8(self: Any) -> None:
        """Python's own would reserve the length that the file claims."""
        (length,) = struct.unpack("<Q", self.read(8))
        self.append(bytearray(self.read(length)))

    dispatch = pickle._Unpickler.dispatch | {pickle.BYTEARRAY8[0]: load_bytearray8}


def _read_pickle(data: bytes) -> Any:
    return _Unpickler(io.BytesIO(data)).load()


def read_jpc(path: str | Path) -> list[NodeVector]:
    """The node vectors of a `.jpc` file, children before parents, the root last.

    Raises:
        FileError: when the file is missing, truncated, no `.jpc` file, or names anything a circuit does not need.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error
    try:
        return [_vector(i, entry) for i, entry in enumerate(_read_pickle(data))]
    except pickle.UnpicklingError as error:
        raise FileError(f"{path} is no .jpc file, or damaged, or unsafe to open: it holds {error}") from error
    except Exception as error:  # a pickle of anything else fails in ways that cannot be listed
        reason = f"{type(error).__name__}: {error}"
        raise FileError(f"{path} is truncated or holds no PyJuice circuit ({reason})") from error


def _vector(index: int, entry: dict[str, Any]) -> NodeVector:
    """One dictionary of the file; names of older versions are understood."""
    kind = entry["type"]
    children = tuple(int(child) for child in entry["chs"])
    if kind not in KINDS or any(not 0 <= child < index for child in children):
        raise pickle.UnpicklingError(f"a node vector {index} of kind {kind!r} over {children}")
    num_blocks = entry.get("num_node_blocks", entry.get("num_node_groups")) or entry["num_nodes"]
    distribution = _read_pickle(entry["dist"]) if kind == "Input" else None
    numbers = vars(distribution) if kind == "Input" else {}
    return NodeVector(
        kind=kind,
        num_blocks=int(num_blocks),
        block_size=int(entry.get("block_size", entry.get("group_size", 1))),
        children=children,
        edges=entry.get("edge_ids", _Array()).value,
        parameters=entry["params"].value if "params" in entry else None,
        scope=tuple(int(variable) for variable in entry.get("scope", ())),
        distribution=type(distribution).__name__,
        numbers={name: value for name, value in numbers.items() if isinstance(value, int)},
        source=None if entry.get("source_node") is None else int(entry["source_node"]),
        needs_outside_parameters="external_params" in entry,
    )
