"""The walk from noise to images that every sampler takes: what it starts from, one step, and what it must return.

A sampler is a loop over the verbs of a `Walk`; `sampler` turns the loop into the call that all samplers share.
"""

import copy
import inspect
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, is_dataclass
from functools import wraps
from typing import Annotated, Any, get_args

import torch
from torch import Tensor

from ..checks import check_images, instance, integer, number
from ..errors import ImageError, TiramisuError
from .denoiser import Denoiser, Prediction
from .noise import Generators, check_generators, standard_normal
from .schedule import Schedule
from .step import Callback, Guide, guided_epsilon, make_step

Share = Annotated[float, 0, 1]
Amount = Annotated[float, 0, math.inf]
Growth = Annotated[float, 0, 10]
Steps = Annotated[int, 0, 10_000]
Count = Annotated[int, 1, 10_000]
"""Options of samplers: their type, and the least and the largest value."""


@dataclass
class Cost:
    """What a walk has cost; divide by the batch for the cost of one image.

    Attributes:
        forward: images that passed through the network, also those whose result was thrown away.
        backward: images whose gradient was taken through it; tables count two forward evaluations for each.
        guide_seconds: spent in the guide, as measured by `clock`.
    """

    forward: int = 0
    backward: int = 0
    guide_seconds: float = 0.0


@dataclass
class Walk:
    """One call of a sampler: its arguments, checked, and the verbs that its loop is written in.

    Args:
        denoiser: the model.
        schedule: T of its steps, `denoiser.schedule.respace(T)`.
        image: (B, C, H, W) in [-1, 1]; hidden pixels are not read. The walk holds it with 0 in hidden pixels.
        known: bool, True where the pixel is given, of any shape that broadcasts to the image.
        guide: replaces the clean prediction; see `Guide`. None leaves the plain sampler, bit for bit.
        generator: of all noise; one, or one per image.
        callback: is called with each step; see `Callback`.
        cost: is added to.

    Raises:
        ImageError: the image is not (B, C, H, W) float, has other channels than the network, the mask is not boolean
            or of another size, or a known pixel lies outside [-1, 1].
        TiramisuError: the schedule is not one of the denoiser's, or `generator` is not one generator or one per image.
    """

    denoiser: Denoiser
    schedule: Schedule
    image: Tensor
    known: Tensor
    _: KW_ONLY
    guide: Guide | None = None
    generator: Generators
    callback: Callback | None = None
    cost: Cost = field(default_factory=Cost)

    def __post_init__(self) -> None:
        _check_types(self)
        _check_schedule(self.schedule, self.denoiser.schedule)
        check_masked(self.image, self.known)
        self.denoiser.check_channels(self.image)
        check_generators(self.generator, len(self.image))
        channels = self.known.shape[-3] if self.known.ndim >= 3 else 1
        B, _, H, W = self.image.shape
        self.known = self.known.to(self.image.device).expand(B, channels, H, W).clone()  # no tensor of inference mode
        self.image = torch.where(self.known, self.image, 0)
        if not bool((self.image.abs() <= self.denoiser.limit).all()):
            raise ImageError("known pixels must be numbers in [-1, 1]")

    @property
    def indices(self) -> range:
        """T - 1, the noisiest, down to 0."""
        return range(len(self.schedule) - 1, -1, -1)

    def repeat(self, P: int) -> "Walk":
        """The same walk with P adjacent rows for each image, its particles; it adds to the same cost."""
        many = copy.copy(self)
        many.image, many.known = (tensor.repeat_interleave(P, 0) for tensor in (self.image, self.known))
        return many

    def start(self) -> Tensor:
        """x_T, standard normal noise."""
        return self.noise()

    def noise(self) -> Tensor:
        """Standard normal noise of the shape of the images."""
        return standard_normal(self.image, self.generator)

    def noised(self, i: int) -> Tensor:
        """The image as the forward process leaves it at index i: sqrt(ᾱ_i) y + sqrt(1 - ᾱ_i) z."""
        return self.schedule.add_noise(self.image, i, self.noise())

    def predict(self, x_t: Tensor, i: int) -> Prediction:
        """The denoiser's prediction at x_t, with a graph for `gradient` where gradients are enabled.

        Raises:
            TiramisuError: gradients are enabled, and the weights were made in inference mode.
        """
        if torch.is_grad_enabled() and any(weight.is_inference() for weight in self.denoiser.parameters()):
            raise TiramisuError(
                "this sampler needs gradients through the network, but its weights were made inside "
                "torch.inference_mode(): load the denoiser outside of it"
            )
        self.cost.forward += len(x_t)
        return self.denoiser(x_t, int(self.schedule.timesteps[i]))

    def gradient(self, loss: Tensor, x: Tensor) -> Tensor:
        """d loss / d x (B, C, H, W), through the network."""
        self.cost.backward += len(x)
        return torch.autograd.grad(loss, x)[0]

    def guided(self, x_t: Tensor, i: int, prediction: Prediction | None = None) -> tuple[Tensor, Tensor]:
        """Clean images and noise to step with: the network's at x_t, then the guide's.

        Args:
            x_t: (B, C, H, W) noisy images at index i.
            i: index into the schedule.
            prediction: the network's, where it is already there.

        Raises:
            TiramisuError: the guide returned another shape.
        """
        prediction = self.predict(x_t, i) if prediction is None else prediction
        step = make_step(self.schedule, i, x_t, prediction, self.image, self.known)
        x_0 = prediction.x_0
        if self.guide is not None:
            begun = clock(x_t)
            x_0 = self.guide(step)
            self.cost.guide_seconds += clock(x_t) - begun
            found, expected = (tuple(x.shape) if isinstance(x, Tensor) else x for x in (x_0, x_t))
            if found != expected:
                raise TiramisuError(f"the guide returned {found} at index {i}, expected {expected}")
        self._last = step, x_0
        return x_0, guided_epsilon(self.guide, step, x_0)

    def ddim(self, x_t: Tensor, x_0: Tensor, epsilon: Tensor | None, i: int, eta: float) -> Tensor:
        """The DDIM step from index i, with fresh noise where it takes any."""
        return self.schedule.ddim_step(x_t, x_0, epsilon, i, eta, self.noise() if eta > 0 and i > 0 else None)

    def ddpm(self, x_t: Tensor, x_0: Tensor, i: int, share: Tensor | None = None) -> Tensor:
        """The ancestral step from index i: a draw of q(x_{t-1} | x_t, x_0); share: of a learned variance."""
        return self.schedule.ddpm_step(x_t, x_0, i, self.noise() if i > 0 else None, share)

    def renoise(self, x_t: Tensor, i: int) -> Tensor:
        """One step of the forward process, from index i up to i + 1."""
        return self.schedule.renoise(x_t, i, self.noise())

    def step(self, x_next: Tensor, x_0: Tensor | None = None) -> Tensor:
        """End a step: x_next itself, after the callback.

        Args:
            x_next: where the step leads.
            x_0: the clean prediction it was made with, if not the one that `guided` returned.
        """
        if self.callback is not None:
            step, guided = self._last
            self.callback(step, guided if x_0 is None else x_0, x_next)
        return x_next

    def finish(self, x: Tensor) -> Tensor:
        """The result: known pixels exactly, the sampled ones elsewhere, pixels clipped to [-1, 1]."""
        return torch.where(self.known, self.image, x.clamp(-self.denoiser.limit, self.denoiser.limit))


Sampler = Callable[..., Tensor]  # the arguments of `Walk`, and the method's own options by name; see `sampler`


def sampler(loop: Callable[..., Tensor]) -> Sampler:
    """A sampler from its loop, (walk, **options) -> images; options carry their bounds in their types.

    A dataclass among the loop's arguments stands for its fields, each an option of the sampler.

    Each has its own default of eta, the method's. Images of a batch do not influence each other: with a generator of
    its own an image comes out as it would alone, up to rounding. Networks round differently in batches of other
    sizes. On digits and faces, 6 to 12 steps, this moved pixels by 1e-6 to 3e-5; by up to 1e-4 where gradients magnify
    it (dps, copaint); in one case by 1.3e-3 (ddrm with a guide, whose unclipped x_0 is large at high noise).

    Inside `torch.inference_mode()` a sampler works as outside. `torch.set_default_dtype` does not change pictures.

    Returns:
        The sampler; its result is (B, C, H, W) in [-1, 1], known pixels exact. It raises ImageError and TiramisuError
        as `Walk`, and for an unknown option or one out of its range.
    """
    of_walk, (_, *declared) = inspect.signature(Walk).parameters, inspect.signature(loop).parameters.values()
    records: dict[str, Any] = {option.name: option.annotation for option in declared if is_dataclass(option.annotation)}
    fields = [field for record in records.values() for field in inspect.signature(record).parameters.values()]
    options = [option for option in declared if option.name not in records] + fields
    own = {option.name: option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options}

    @wraps(loop)
    def sample(*arguments: Any, **keywords: Any) -> Tensor:
        shared = {name: keywords.pop(name) for name in of_walk.keys() & keywords.keys()}
        chosen = _checked(loop.__name__, own, keywords)
        for name, record in records.items():
            of_record = inspect.signature(record).parameters.keys() & chosen.keys()
            chosen[name] = record(**{option: chosen.pop(option) for option in of_record})
        # Gradients are taken where a sampler needs them, also inside torch.inference_mode().
        with torch.inference_mode(False), torch.no_grad():
            return loop(Walk(*arguments, **shared), **chosen)

    sample.__signature__ = inspect.Signature([*of_walk.values(), *own.values()])  # type: ignore[attr-defined]
    return sample


def clock(like: Tensor) -> float:
    """Seconds where `like` is computed: CPU time, summed over threads, on the CPU; wall-clock time elsewhere."""
    if like.device.type == "cpu":
        return time.process_time()
    if like.device.type == "cuda":
        torch.cuda.synchronize(like.device)
    return time.perf_counter()


def _check_types(walk: Walk) -> None:
    kinds: dict[str, Any] = {"denoiser": Denoiser, "schedule": Schedule, "image": Tensor, "known": Tensor}
    optional = {"guide": Callable, "callback": Callable}
    for name, kind in (kinds | {k: v for k, v in optional.items() if getattr(walk, k) is not None}).items():
        instance(name, getattr(walk, name), kind)


def _check_schedule(schedule: Schedule, own: Schedule) -> None:
    if int(schedule.timesteps[-1]) >= len(own) or not torch.equal(
        own.alpha_bar[schedule.timesteps], schedule.alpha_bar
    ):
        raise TiramisuError("the schedule is not one of this denoiser's: use denoiser.schedule.respace(T)")


def check_masked(image: Tensor, known: Tensor) -> None:
    """Whether these are float images (B, C, H, W) and a mask that fits them."""
    check_images("image", image, limit=None)
    instance("known", known, Tensor)
    if known.dtype != torch.bool:
        raise ImageError(f"known must be bool, True where the pixel is given; got {known.dtype}")
    sizes = zip(reversed(known.shape), reversed(image.shape))
    if known.ndim > 4 or not all(size in (1, expected) for size, expected in sizes):
        raise ImageError(f"known {tuple(known.shape)} does not fit images {tuple(image.shape)}")


def _checked(sampler: str, known: Mapping[str, inspect.Parameter], options: dict[str, Any]) -> dict[str, Any]:
    """The options, each one known and within the bounds of its type.

    An ancestral step draws x_{t-1} from q(x_{t-1} | x_t, x_0), which has the noise of eta = 1: a sampler without the
    option takes this eta and no other, also one whose noise is of a kind of its own.
    """
    if "eta" not in known and (eta := options.pop("eta", 1)) != 1:
        raise TiramisuError(f"{sampler} has one kind of noise, called eta = 1, not {eta}: leave eta out, or use ddim")
    for name, value in options.items():
        if name not in known:
            raise TiramisuError(f"{sampler} has no option {name!r}: expected {', '.join(known) or 'none'}")
        match get_args(known[name].annotation):
            case kind, low, high:
                (integer if kind is int else number)(f"{sampler}: {name}", value, low, high)
            case () if known[name].annotation is bool:
                instance(f"{sampler}: {name}", value, bool)
    return options
