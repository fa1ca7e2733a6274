"""Random numbers for samplers and guides: drawn where the generators live, the same on every device and in every dtype.

No other file of `diffusion` and `steering` draws: a CPU generator then serves tensors of a card, and the reverse.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..checks import integer
from ..errors import TiramisuError

Generators = torch.Generator | Sequence[torch.Generator]
"""One generator for the batch, or one for each image: then an image does not depend on its neighbours'
noise."""


def standard_normal(like: Tensor, generator: Generators | None) -> Tensor:
    """Noise of the shape, dtype and device of `like`, drawn in float32 where the generator lives.

    A generator on the CPU therefore gives the same picture on every device and in every dtype. With several generators
    each one draws an equal share of the rows, so P rows for the P particles of its image. None is torch's default one.
    """
    return torch.randn_like(like) if generator is None else _draw(torch.randn, like, generator)


def uniform(like: Tensor, generator: Generators) -> Tensor:
    """Numbers in [0, 1), drawn as in `standard_normal`."""
    return _draw(torch.rand, like, generator)


def categorical(probabilities: Tensor, generator: Generators | None) -> Tensor:
    """One category for each row of probabilities (B, D, C), independently: (B, D) long, on their device.

    Args:
        generator: one for the batch, or one per image (of an equal share of the rows); None is torch's default.
    """
    if isinstance(generator, Sequence):
        shares = probabilities.chunk(len(generator))
        return torch.cat([categorical(p, g) for p, g in zip(shares, generator)])
    rows = probabilities.flatten(0, 1)
    rows = rows if generator is None else rows.to(generator.device)
    drawn = torch.multinomial(rows, 1, generator=generator).to(probabilities.device)
    return drawn.view(probabilities.shape[:2])


def _draw(kind: Callable[..., Tensor], like: Tensor, generator: Generators) -> Tensor:
    generators = [generator] if isinstance(generator, torch.Generator) else generator
    shape = (len(like) // len(generators), *like.shape[1:])
    return torch.cat([kind(shape, generator=g, device=g.device, dtype=torch.float32) for g in generators]).to(like)


def generators_of(given: Generators | int | None, count: int) -> Generators:
    """Generators for `count` images from what a caller gave: a whole number is a seed, None is seed 0.

    Raises:
        TiramisuError: as `check_generators`.
    """
    if given is None or isinstance(given, int):
        return torch.Generator().manual_seed(integer("generator", 0 if given is None else given, 0, 2**63 - 1))
    check_generators(given, count)
    return given


def check_generators(generator: Generators, count: int | None = None) -> None:
    """One generator, or `count` of them; any number if None.

    Raises:
        TiramisuError: it is something else.
    """
    several = list(generator) if isinstance(generator, Sequence) else [generator]
    if not all(isinstance(g, torch.Generator) for g in several):
        raise TiramisuError(f"generator must be torch.Generator().manual_seed(0), or one per image, not {generator!r}")
    if isinstance(generator, Sequence) and count is not None and len(several) != count:
        raise TiramisuError(f"{len(several)} generators for {count} images: give one, or one per image")
