"""How good a completion is, one number per image, so that methods can be compared image by image.

A distance to the one true picture rewards a method that does not commit: the blurred mean of all completions has the
lowest squared error of all. The energy score of two or more completions has no such flaw. Measures of a scene's factors
are in factors.py, distances in the features of networks in perceptual.py.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor

from ...errors import ImageError
from ..worlds.judge import Judge


def hidden_mse(images: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Mean squared error over the hidden pixels.

    mse_b = sum_{hidden} (images - truth)^2 / (number of hidden pixels and channels of image b)

    Args:
        images, truth: (B, C, H, W) in [-1, 1].
        known: bool, broadcastable to (B, 1, H, W); True where the pixel is given.

    Returns: (B,) float64, in units of the squared image scale: 0 to 4.
    Raises:
        ImageError: where shapes differ or an image has no hidden pixel.
    """
    hidden = _checked_hidden(images, truth, known)
    squares = (images.double() - truth.double()).square() * hidden
    return squares.flatten(1).sum(1) / hidden.flatten(1).sum(1)


def hidden_psnr(images: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Peak signal-to-noise ratio over the hidden pixels, in decibels.

    psnr_b = 10 log10(2^2 / mse_b), 2 being the range of an image

    Args and Raises: as `hidden_mse`.
    Returns: (B,) float64; +inf where the hidden pixels are exactly right.
    """
    return 10.0 * torch.log10(4.0 / hidden_mse(images, truth, known))


def hidden_ssim(images: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Structural similarity at the hidden pixels: do mean, contrast and pattern of the surroundings agree?

    ssim = (2 m_x m_y + c_1)(2 s_xy + c_2) / ((m_x^2 + m_y^2 + c_1)(s_x^2 + s_y^2 + c_2))

    with means m and (co)variances s under a Gaussian window of 11 x 11 pixels and s.d. 1.5 around each pixel,
    c_1 = (0.01 * 2)^2 and c_2 = (0.03 * 2)^2, 2 being the range of an image. Where the window leaves the picture,
    the weights inside are scaled to sum to 1. Averaged over channels and hidden pixels.

    Args and Raises: as `hidden_mse`.
    Returns: (B,) float64, 1 for equal surroundings, at least -1.
    Source: Wang, Bovik, Sheikh, Simoncelli, Image Quality Assessment, IEEE TIP 13 (2004), section III.B.
    """
    hidden = _checked_hidden(images, truth, known)
    x, y = images.double(), truth.double()
    m_x, m_y = _windowed(x), _windowed(y)
    s_xx, s_yy, s_xy = _windowed(x * x) - m_x**2, _windowed(y * y) - m_y**2, _windowed(x * y) - m_x * m_y
    c_1, c_2 = 0.02**2, 0.06**2
    ssim = (2 * m_x * m_y + c_1) * (2 * s_xy + c_2) / ((m_x**2 + m_y**2 + c_1) * (s_xx + s_yy + c_2))
    return (ssim * hidden).flatten(1).sum(1) / hidden.flatten(1).sum(1)


def hidden_seam(images: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """How visible the border of the hidden part is: the jump across it over the jump that is there in truth.

    seam_b = sqrt( sum_{(p, q)} |x_p - x_q|^2 / sum_{(p, q)} |truth_p - truth_q|^2 )

    over all neighbours p, q below or beside each other of which one is known and one hidden.

    Args and Raises: as `hidden_mse`.
    Returns: (B,) float64; 1 for a border as in the true picture, more for a visible one.
    """
    hidden = _checked_hidden(images, truth, known)[:, :1]

    def jumps(x: Tensor) -> Tensor:
        total = torch.zeros(len(x), dtype=torch.float64)
        for axis in (2, 3):
            border = hidden.narrow(axis, 1, x.shape[axis] - 1) ^ hidden.narrow(axis, 0, x.shape[axis] - 1)
            total += (x.double().diff(dim=axis).square() * border).flatten(1).sum(1)
        return total

    return ((jumps(images) + 1e-9) / (jumps(truth) + 1e-9)).sqrt()


def label_agreement(judge: Judge, images: Tensor, states: Tensor) -> Tensor:
    """Share of the factors that the judge reads in the completed image as they are in the true one.

    agreement_b = (number of factors f with read(images)_bf = states_bf) / F

    Args:
        judge: the reader, for example `load("digits").judge`.
        images: (B, C, H, W) in [-1, 1].
        states: (B, F) long, or the labels (B,) of a judge with one head.

    Returns: (B,) float64 from 0 to 1; zeros and ones for a judge with one head.
    """
    return (judge.read(images) == states.reshape(len(images), -1)).double().mean(1)


def diversity(completions: Tensor, known: Tensor) -> Tensor:
    """How much the completions of one image differ from seed to seed; 0 where a method copies or averages.

    diversity_b = mean over pairs s < s' of sqrt(mean over hidden pixels of (x_sb - x_s'b)^2)

    Args:
        completions: (S, B, C, H, W) in [-1, 1]: S >= 2 seeds of the same B images.
        known: as in `hidden_mse`.

    Returns: (B,) float64 in image units: 0 to 2.
    Raises:
        ImageError: for fewer than two seeds or an image without hidden pixels.
    """
    if completions.dim() != 5 or completions.shape[0] < 2:
        raise ImageError(
            f"completions must be (S, B, C, H, W) with S >= 2 seeds, not {tuple(completions.shape)}; "
            "one seed has nothing to differ from"
        )
    distances = [hidden_mse(first, second, known).sqrt() for first, second in combinations(completions, 2)]
    return torch.stack(distances).mean(0)


def energy_scores(distance: Callable[[Tensor, Tensor], Tensor], completions: Tensor, truth: Tensor) -> Tensor:
    """The energy score of the completions of one image, lowest on average for draws from the true conditional.

        energy_sb = |x_sb - y_b| - 1/2 mean over s' != s of |x_sb - x_s'b|      y: the truth

    Its mean over s is unbiased. The second term pays for variety: a mean picture has none, and a true draw differs from
    another as much as from the truth.

    Args:
        distance: two batches (B, C, H, W) -> (B,), a Euclidean distance in some features, as the proof requires.
        completions: (S, B, C, H, W): S >= 2 seeds of the same B images.
        truth: (B, C, H, W).

    Returns: (S, B) float64.
    Source: Gneiting and Raftery, Strictly Proper Scoring Rules, Prediction, and Estimation, JASA 2007, section 4.3.
    """
    scores = torch.stack([distance(x, truth) for x in completions])
    for (s, x), (r, other) in combinations(enumerate(completions), 2):
        scores[[s, r]] -= distance(x, other) / (2 * (len(completions) - 1))
    return scores


def coverage(completions: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Share of hidden pixels whose truth lies in the central 90 % interval that the completions of an image give.

        |y - mean| <= t sqrt(1 + 1/S) sd      t: the 95 % quantile of Student's distribution with S - 1 degrees

    It is 0.9 for Gaussian pixels and exact draws. Where the completions agree, half a grey level of 256 is allowed.

    Args: completions (S, B, C, H, W) with S >= 2; truth (B, C, H, W); known as in `hidden_mse`.
    Returns: (B,) float64.
    """
    S, hidden = len(completions), _checked_hidden(completions[0], truth, known)
    variance, mean = torch.var_mean(completions.double(), 0)
    width = stats.t.ppf(0.95, S - 1) * (1 + 1 / S) ** 0.5 * variance.sqrt() + 1 / 255
    inside = (truth.double() - mean).abs() <= width
    return (inside & hidden).flatten(1).sum(1) / hidden.flatten(1).sum(1).double()


def _windowed(images: Tensor) -> Tensor:
    """The mean around each pixel of (B, C, H, W) under the Gaussian window, weights outside the picture left out."""
    offset = torch.arange(-5, 6, dtype=images.dtype, device=images.device)
    weight = torch.exp(-(offset**2) / (2 * 1.5**2))
    planes = torch.cat([images.flatten(0, 1), torch.ones_like(images[:1, 0])])[:, None]  # the last one counts weights
    blurred = F.conv2d(planes, weight[None, None, :, None], padding=(5, 0))
    blurred = F.conv2d(blurred, weight[None, None, None, :], padding=(0, 5))[:, 0]
    return (blurred[:-1] / blurred[-1]).view_as(images)


def _checked_hidden(images: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """(B, C, H, W) bool: True where the pixel is hidden; the images have one shape and each a hidden pixel."""
    if images.shape != truth.shape:
        raise ImageError(f"images {tuple(images.shape)} and truth {tuple(truth.shape)} must have one shape")
    hidden = (~known).expand(images.shape) if known.dim() == 4 else (~known)[None].expand(images.shape)
    empty = ~hidden.flatten(1).any(1)
    if empty.any():
        raise ImageError(f"image {int(empty.nonzero()[0])} of the batch has no hidden pixel to be judged on")
    return hidden
