"""What a sampler costs, counted where it is paid: images that pass through the network, forward and backward."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..denoiser import Denoiser


@dataclass
class Evaluations:
    """Evaluations of a network, counted in images; divide by the batch for the cost of one image.

    Attributes:
        forward: images that passed through it.
        backward: images whose gradient was taken through it; about two forward evaluations each.
    """

    forward: int = 0
    backward: int = 0


@contextmanager
def count_evaluations(denoiser: Denoiser) -> Iterator[Evaluations]:
    """Count what is done with a denoiser's network inside the block, by whichever sampler.

        with count_evaluations(world.denoiser) as count:
            copaint(world.denoiser, schedule, image, known, generator=generator)
        count.forward / len(image), count.backward / len(image)

    All rows of a batch count, also those whose result is thrown away.
    """
    count = Evaluations()

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        images: Tensor = output if isinstance(output, Tensor) else output.sample
        count.forward += len(images)
        if images.requires_grad:
            images.register_hook(note_gradient)

    def note_gradient(gradient: Tensor) -> None:
        count.backward += len(gradient)

    hook = denoiser.network.register_forward_hook(note)
    try:
        yield count
    finally:
        hook.remove()
