"""The exceptions this package raises on purpose: one family, each message saying what to do next."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches


class TiramisuError(ValueError):
    """Anything a caller did that the package can explain. The command line prints it and exits with 2."""


class StructureError(TiramisuError):
    """A circuit that is not smooth, not decomposable, cyclic or otherwise not a circuit."""


class EvidenceError(TiramisuError):
    """Evidence of the wrong shape, with NaN or +inf, impossible in itself, or contradicting the circuit."""


class FileError(TiramisuError):
    """A file that is missing, truncated, tampered with, or not of the expected kind."""


class ImageError(TiramisuError):
    """An image or mask that cannot be used: wrong channels, wrong size, nothing to fill in, unreadable."""


def unknown_name(kind: str, name: str, names: Iterable[str]) -> TiramisuError:
    """The error for a name that is not among `names`; it suggests the nearest one."""
    near = get_close_matches(str(name), list(names), 1)
    suggestion = f"did you mean {near[0]!r}? Choose" if near else "choose"
    return TiramisuError(f"unknown {kind} {name!r}: {suggestion} one of {', '.join(names)}")


def known_name(kind: str, name: str, names: Collection[str]) -> str:
    """The name itself, once it is among `names`.

    Raises:
        TiramisuError: it is not.
    """
    if name not in list(names):  # a name may be anything, also what cannot be hashed
        raise unknown_name(kind, name, names)
    return name
