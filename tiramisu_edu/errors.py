"""The exceptions this package raises on purpose: one family, each message saying what to do next."""


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
