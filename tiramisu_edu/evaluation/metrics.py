"""How good a completion is, one number per image, so that methods can be compared image by image.

A low mean squared error alone proves nothing: the blurred mean of all completions has the lowest of all. Read
it beside the judge's agreement (is it still the same digit?) and the diversity (do the seeds differ?).
"""

from collections.abc import Callable
from itertools import combinations

import torch
from torch import Tensor

from tiramisu_edu.errors import ImageError


def hidden_mse(images: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Mean squared error over the hidden pixels.

    mse_b = sum_{hidden} (images - truth)^2 / (number of hidden pixels and channels of image b)

    Args:
        images, truth: (B, C, H, W) in [-1, 1].
        known: bool, broadcastable to (B, 1, H, W); True where the pixel is given.

    Returns: (B,) float64, in units of the squared image scale: 0 to 4.
    Raises: ImageError where shapes differ or an image has no hidden pixel.
    """
    if images.shape != truth.shape:
        raise ImageError(f"images {tuple(images.shape)} and truth {tuple(truth.shape)} must have one shape")
    hidden = _hidden(images, known)
    squares = (images.double() - truth.double()).square() * hidden
    return squares.flatten(1).sum(1) / hidden.flatten(1).sum(1)


def hidden_psnr(images: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Peak signal-to-noise ratio over the hidden pixels, in decibels.

    psnr_b = 10 log10(2^2 / mse_b), 2 being the range of an image

    Args, Raises: as `hidden_mse`. Returns: (B,) float64; +inf where the hidden pixels are exactly right.
    """
    return 10.0 * torch.log10(4.0 / hidden_mse(images, truth, known))


def label_agreement(judge: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> Tensor:
    """1 where the judge reads the completed image as the true label, else 0.

    agreement_b = [argmax_k judge(images)_bk = labels_b]

    Args:
        judge: images -> log-probabilities (B, K), for example `load("digits").judge`.
        images: (B, C, H, W) in [-1, 1].
        labels: (B,) long in 0..K-1.

    Returns: (B,) float64 of zeros and ones.
    """
    with torch.no_grad():
        return (judge(images).argmax(dim=1) == labels).double()


def diversity(completions: Tensor, known: Tensor) -> Tensor:
    """How much the completions of one image differ from seed to seed; 0 where a method copies or averages.

    diversity_b = mean over pairs s < s' of sqrt(mean over hidden pixels of (x_sb - x_s'b)^2)

    Args:
        completions: (S, B, C, H, W) in [-1, 1]: S >= 2 seeds of the same B images.
        known: as in `hidden_mse`.

    Returns: (B,) float64 in image units: 0 to 2.
    Raises: ImageError for fewer than two seeds or an image without hidden pixels.
    """
    if completions.dim() != 5 or completions.shape[0] < 2:
        raise ImageError(
            f"completions must be (S, B, C, H, W) with S >= 2 seeds, not {tuple(completions.shape)}; "
            "one seed has nothing to differ from"
        )
    distances = [hidden_mse(first, second, known).sqrt() for first, second in combinations(completions, 2)]
    return torch.stack(distances).mean(0)


def _hidden(images: Tensor, known: Tensor) -> Tensor:
    """(B, C, H, W) bool: True where the pixel is hidden; every image has one."""
    hidden = (~known).expand(images.shape) if known.dim() == 4 else (~known)[None].expand(images.shape)
    empty = ~hidden.flatten(1).any(1)
    if empty.any():
        raise ImageError(f"image {int(empty.nonzero()[0])} of the batch has no hidden pixel to be judged on")
    return hidden
