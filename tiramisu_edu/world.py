"""A world: an image distribution and the models trained on it, as `inpaint` and `fuse` use them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

import torch
from torch import Tensor

from .checks import instance
from .circuits.circuit import Circuit
from .diffusion.calibration import FEW, calibrated, drawn
from .diffusion.denoiser import Denoiser
from .diffusion.schedule import Schedule
from .errors import TiramisuError, known_name
from .steering.beyond.difference import WeightTable
from .steering.evidence import Codebook, PixelCodebook
from .steering.low_rank import load_codebook
from .steering.patches import PatchCodebook
from .tokenizer import Tokenizer

KINDS: dict[str, Any] = {"denoiser": Denoiser, "circuit": Circuit, "codebook": Codebook, "tokenizer": Tokenizer}
KINDS |= {"code_circuit": Circuit, "pictures": Tensor}
READERS: dict[str, Callable[[Path], Any]] = {part: kind.load for part, kind in KINDS.items() if hasattr(kind, "load")}
READERS["codebook"] = load_codebook
"""Part -> what reads its file."""
TABLES = {"learned": "guide_weights.safetensors", "difference": "guide_weights_difference.safetensors"}
"""Guide -> the file of its fitted weights."""

_Value = TypeVar("_Value")
_Own = TypeVar("_Own", bound="World")
_MAKING = RLock()


class once(cached_property[_Value]):
    """A cached property made by one thread, of ordinary tensors also inside `torch.inference_mode()`."""

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> _Value:  # type: ignore[override]
        with _MAKING, torch.inference_mode(False):
            return super().__get__(instance, owner)


class World:
    """An image distribution and the models of it. This one has none: others read them, each when it is first used.

    Args:
        name: in titles and messages.
        device: of the models; the judge stays on the CPU.
    """

    parts: tuple[str, ...] = ()
    """What the world is made of, as `tiramisu-edu train` names it."""
    scene: Any = None
    """The factors behind the pictures and the rules between them; None where they are not known."""
    judge: Any = None
    """Images -> log-probabilities of the factors, trained apart from all other models; None without labels."""

    def __init__(self, name: str, device: str | torch.device = "cpu") -> None:
        self.name, self.device = name, torch.device(device)

    @property
    def label(self) -> str:
        """The name in titles and in the names of files."""
        return self.name

    @property
    def to_train(self) -> str:
        """The arguments of `tiramisu-edu train` for this world; empty where no command trains it."""
        return ""

    def read(self, part: str) -> Any:
        """The model of that name.

        Raises:
            TiramisuError: the world does not have it.
        """
        raise TiramisuError(f"world {self.name!r} has no {part}; it has {', '.join(self.parts)}")

    @once
    def denoiser(self) -> Denoiser:
        """p_DM: (x_t, t) -> clean prediction and noise."""
        return self.read("denoiser")

    @property
    def schedule(self) -> Schedule:
        """The denoiser's full schedule; respace it for fewer steps."""
        return self.denoiser.schedule

    @once
    def circuit(self) -> Circuit:
        """p_PC over the categories of the pixels or patches."""
        return self.read("circuit")

    @once
    def independent_circuit(self) -> Circuit:
        """The control: the same categories, all independent."""
        return self.read("circuit_independent")

    @once
    def codebook(self) -> PixelCodebook | PatchCodebook:
        """Pixels -> log weights for the circuit, and its marginals -> pixel means."""
        return self.read("codebook")

    @once
    def tokenizer(self) -> Tokenizer | None:
        """Images -> grid of codes and back; None for a world without."""
        return self.read("tokenizer") if "tokenizer" in self.parts else None

    @once
    def code_circuits(self) -> Mapping[str, Circuit]:
        """Structure -> p_PC over the codes of the tokenizer; empty for a world without."""
        return {part.removeprefix("codes_"): self.read(part) for part in self.parts if part.startswith("codes_")}

    @once
    def sampler_options(self) -> Mapping[str, Mapping[str, Any]]:
        """Sampler name -> its keyword arguments as tuned for this world on validation images."""
        return {}

    @once
    def guide_options(self) -> Mapping[str, Mapping[str, Any]]:
        """Guide name -> its keyword arguments as tuned for this world on validation images."""
        return {}

    def weights(self, of: str) -> WeightTable | None:
        """The weights fitted for a guide, one of `TABLES`; None where none were."""
        return None

    def calibrate(self) -> None:
        """Measure Var[x_0 | x_t] where the denoiser came without; see `diffusion.calibration`."""
        if self.denoiser.schedule.residual_variance is None:
            self.denoiser.schedule = calibrated(self.denoiser, self.images("validation", FEW)[0].to(self.device))

    def images(self, split: str, count: int | None = None) -> tuple[Tensor, Tensor]:
        """The first `count` images of a split, all if None, and what is on them.

        Args:
            split: "train", "validation" or "test".

        Returns: images (N, C, H, W) in [-1, 1]; states (N, F) long, a value of each factor, for digits labels (N,).
        """
        raise NotImplementedError

    def to(self: _Own, device: str | torch.device) -> _Own:
        """This world with its models on a device; the same object where they are there already."""
        return self if torch.device(device) == self.device else self._moved(device)

    def _moved(self: _Own, device: str | torch.device) -> _Own:
        return type(self)(self.name, device)


class PartsWorld(World):
    """A world of models at hand; nothing is tuned or fitted for them but what is given.

    Args:
        tuned: what was tuned or fitted for just these models: `sampler_options`, `guide_options` and `weights`.
        denoiser: p_DM.
        circuit, codebook: p_PC over pixels or patches, and what turns pixels into its evidence.
        tokenizer, code_circuit: pictures to codes, and p_PC over these.
        pictures: (N, C, H, W) in [-1, 1], held out, on which the denoiser is calibrated where a guide needs that; a
            few that it draws itself if None.

    Raises:
        TiramisuError: a part of another kind. One that is missing is named when it is asked for.
    """

    def __init__(
        self, device: str | torch.device = "cpu", *, tuned: Mapping[str, Any] | None = None, **parts: Any
    ) -> None:
        super().__init__("of your parts", device)
        given = {name: part for name, part in parts.items() if part is not None}
        for name, part in given.items():
            instance(name, part, KINDS[known_name("part", name, KINDS)])
        self.parts, self.tuned = tuple(given), dict(tuned or {})
        self.given = {name: part.to(self.device) if hasattr(part, "to") else part for name, part in given.items()}
        codes = {"code_circuits": {"own": self.given["code_circuit"]}} if "code_circuit" in given else {}
        self.__dict__ |= self.given | codes | self.tuned

    def images(self, split: str, count: int | None = None) -> tuple[Tensor, Tensor]:
        pictures = self.given["pictures"] if "pictures" in self.given else drawn(self.denoiser, count or FEW)
        return pictures[:count], torch.zeros(len(pictures[:count]), 0, dtype=torch.long)

    def _moved(self, device: str | torch.device) -> PartsWorld:
        return PartsWorld(device, tuned=self.tuned, **self.given)


def parts_of(world: World | None, parts: Mapping[str, Any]) -> World:
    """A world itself, or one of parts.

    Raises:
        TiramisuError: neither a world nor a denoiser, both, or a part of another kind.
    """
    given = {name: part for name, part in parts.items() if part is not None}
    if world is None:
        if "denoiser" not in given:
            raise TiramisuError("give a world from load(...), or denoiser=... with the parts that its guide needs")
        return PartsWorld(**given)
    instance("world", world, World)
    if given:
        raise TiramisuError(f"give a world, or all models as parts, not a world and {', '.join(given)}")
    return world
