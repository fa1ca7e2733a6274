"""The judge: a small classifier of what a completed picture shows, one head per factor.

It is trained with the noise and blur that completions show, and takes no part in making the pictures it judges.
For a scene its training images have factors that are all independent, so that no factor can be predicted from the
others.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...errors import ImageError
from ...files import loaded, save_safetensors, with_weights

KIND, VERSION = "judge", 1
READ = 1024  # images per call when reading many


class Judge(nn.Module):
    """A convolutional classifier with one head per factor: log p(factor f | image).

    Convolutions with group norm, halving the picture after each but the first; then features, and one linear layer
    whose outputs are shared out to the heads. For digits there is one head, of ten.

    Args:
        cardinalities: number of values of each factor.
        size: side of the square images, in pixels.
        channels: 1 or 3.
        patch: side of the pixel blocks that are moved into channels before the first convolution: 2 makes a
            32 x 32 x 3 image 16 x 16 x 12, for a quarter of the time.
        widths: channels of the convolutions.
        num_features: length of the feature vector.
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        *,
        size: int,
        channels: int,
        patch: int,
        widths: Sequence[int],
        num_features: int,
    ) -> None:
        super().__init__()
        self.cardinalities = list(cardinalities)
        sizes = {"size": size, "channels": channels, "patch": patch, "widths": list(widths)}
        self.architecture = {"cardinalities": self.cardinalities, **sizes, "num_features": num_features}
        self.shape = (channels, size, size)
        self.facts: dict[str, object] = {}
        self.blocks = nn.PixelUnshuffle(patch)
        before = [channels * patch**2, *widths[:-1]]
        self.stages = nn.ModuleList(_stage(a, b, halve=n > 0) for n, (a, b) in enumerate(zip(before, widths)))
        side = size // patch // 2 ** (len(widths) - 1)
        self.project = nn.Linear(widths[-1] * side**2, num_features)
        self.dropout = nn.Dropout(0.3)
        self.classify = nn.Linear(num_features, sum(cardinalities))

    def forward(self, images: Tensor) -> list[Tensor]:
        """log p(factor | image), one tensor per factor.

        Args: images (B, C, H, W) in [-1, 1].
        Returns: F tensors (B, cardinality of f) of log-probabilities.
        Raises:
            ImageError: for images of another shape than the judge's.
        """
        logits = self.classify(self.dropout(self.features(images)))
        return [F.log_softmax(part, dim=1) for part in logits.split(self.cardinalities, dim=1)]

    def features(self, images: Tensor) -> Tensor:
        """The features before the last layer: (B, C, H, W) -> (B, D), for distances between pictures."""
        return F.silu(self.project(self.layers(images)[-1].flatten(1)))

    def layers(self, images: Tensor) -> list[Tensor]:
        """The output of every stage, from fine to coarse, each (B, width, side, side)."""
        if images.dim() != 4 or tuple(images.shape[1:]) != self.shape:
            raise ImageError(
                f"this judge reads images (B, {', '.join(map(str, self.shape))}), not {tuple(images.shape)}"
            )
        outputs = [self.blocks(images)]
        for stage in self.stages:
            outputs.append(stage(outputs[-1]))
        return outputs[1:]

    @torch.no_grad()
    def read(self, images: Tensor) -> Tensor:
        """The likeliest value of every factor: (N, C, H, W) -> (N, F) long, in chunks, without gradients."""
        parts = [torch.stack([head.argmax(1) for head in self(chunk)], dim=1) for chunk in images.split(READ)]
        return torch.cat(parts)

    def save(self, path: str | Path, **facts: object) -> None:
        """Writes the weights in half precision, the architecture, and the facts given."""
        weights = {name: value.half() for name, value in self.state_dict().items()}
        metadata = {"architecture": self.architecture, "facts": facts}
        save_safetensors(path, weights, kind=KIND, version=VERSION, metadata=metadata)

    @classmethod
    def load(cls, path: str | Path) -> Judge:
        """Reads a judge for use: float32, no dropout, weights fixed (gradients still reach the images).

        Raises:
            FileError: for a file that is missing, damaged or of another kind.
        """
        with loaded(path, kind=KIND, version=VERSION) as (weights, metadata):
            judge = with_weights(lambda: cls(**metadata["architecture"]), weights)
            judge.facts = dict(metadata["facts"])
        return judge


def accuracy(judge: Judge, images: Tensor, states: Tensor) -> Tensor:
    """Share of images (N, C, H, W) read as their states (N, F), for each factor: (F,) float64."""
    return (judge.read(images) == states).double().mean(0)


def _stage(before: int, after: int, *, halve: bool) -> nn.Sequential:
    """Convolution, group norm, SiLU, and with `halve` a pooling to half the side."""
    layers = [nn.Conv2d(before, after, 3, padding=1), nn.GroupNorm(4, after), nn.SiLU()]
    return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if halve else []))
