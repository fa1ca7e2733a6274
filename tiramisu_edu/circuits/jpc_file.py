"""Reading PyJuice's `.jpc` files without running anything that is in them.

A `.jpc` file is a pickle: a list of dictionaries, one per node vector, children first, holding numpy arrays and,
pickled once more, the input distribution. An ordinary unpickler would import and call whatever the file names. This
one imports nothing: it answers the names of numpy's arrays and of PyJuice's distributions with stand-ins of its own,
and any other name is an error.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FileError
from .node_vectors import Distribution, NodeVector

KINDS = ("Input", "Product", "Sum")
DTYPES = ("f2", "f4", "f8", "i4", "i8", "u1", "b1")


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
    """Stands for numpy.ndarray, and for the function that makes an empty one to be filled by its state."""

    def __init__(self, *_: object):
        self.value = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        self.value = dtype.read(data, shape, "F" if is_fortran else "C")


def _from_buffer(data: bytes, dtype: _DType, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.value = dtype.read(data, shape, order)
    return array


def _scalar(dtype: _DType, data: bytes) -> float:
    return dtype.read(data, (), "C").item()


_STAND_INS = {
    "ndarray": _Array,
    "_reconstruct": _Array,
    "dtype": _DType,
    "_frombuffer": _from_buffer,
    "scalar": _scalar,
}
_NUMPY_MODULES = ("numpy", *(f"numpy.{c}.{m}" for c in ("core", "_core") for m in ("multiarray", "numeric")))
_DISTRIBUTIONS = "pyjuice.nodes.distributions."


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in _NUMPY_MODULES and name in _STAND_INS:
            return _STAND_INS[name]
        if module.startswith(_DISTRIBUTIONS):
            return type(name, (), {})  # holds the attributes, has no method
        raise pickle.UnpicklingError(f"the name {module}.{name}")


def _read_pickle(data: bytes) -> Any:
    return _Unpickler(io.BytesIO(data)).load()


def read_jpc(path: str | Path) -> list[NodeVector]:
    """The node vectors of a `.jpc` file, children before parents, the root last.

    Raises:
        FileError: when the file is missing, truncated, no `.jpc` file, or asks for anything a circuit does not need.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from error
    try:
        fields = _read_pickle(data)
        return [_vector(i, entry) for i, entry in enumerate(fields)]
    except pickle.UnpicklingError as error:
        raise FileError(f"{path} is no .jpc file, or damaged, or unsafe to open: it holds {error}") from error
    except Exception as error:  # a pickle of anything else fails in ways that cannot be listed
        reason = f"{type(error).__name__}: {error}"
        raise FileError(f"{path} is truncated or holds no PyJuice circuit ({reason})") from error


def _vector(index: int, entry: dict[str, Any]) -> NodeVector:
    """One dictionary of the file; names of older versions are understood."""
    kind = entry["type"]
    children = tuple(int(child) for child in entry["chs"])
    source = entry.get("source_node")
    if kind not in KINDS or any(not 0 <= child < index for child in children):
        raise pickle.UnpicklingError(f"a node vector {index} of kind {kind!r} over {children}")
    num_blocks = entry.get("num_node_blocks", entry.get("num_node_groups")) or entry["num_nodes"]
    arrays = {name: entry[name].value for name in ("edge_ids", "params") if name in entry}
    return NodeVector(
        kind=kind,
        num_blocks=int(num_blocks),
        block_size=int(entry.get("block_size", entry.get("group_size", 1))),
        children=children,
        edge_ids=arrays.get("edge_ids"),
        parameters=arrays.get("params"),
        scope=tuple(int(variable) for variable in entry.get("scope", ())),
        distribution=_distribution(entry["dist"]) if kind == "Input" else None,
        source=None if source is None else int(source),
        needs_outside_parameters="external_params" in entry,
    )


def _distribution(data: bytes) -> Distribution:
    stand_in = _read_pickle(data)
    numbers = {name: value for name, value in vars(stand_in).items() if isinstance(value, int)}
    return Distribution(type(stand_in).__name__, numbers)
