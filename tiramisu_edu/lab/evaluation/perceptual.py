"""Distances between pictures as networks see them: LPIPS, and of sets the Frechet distance of features.

LPIPS compares the layers of an image network. The official metric uses AlexNet, whose weights are a download of
torchvision; where they are not on disk, the layers of a world's judge stand in. The two are different metrics on
different scales, so each brings a name, and every table prints it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import lpips
import torch
import torch.nn.functional as F
from torch import Tensor

from ...errors import FileError, ImageError, TiramisuError
from ..datafiles import sha256
from ..worlds.judge import Judge

SMALLEST = 64  # pixels; AlexNet's first layers leave nothing of smaller pictures
_CHUNK = 256


class Perceptual(NamedTuple):
    """A perceptual distance and what tables must call it.

    Attributes:
        name: whose features are compared.
        compare: images, truth (B, C, H, W) -> distances that can be flattened to (B,).
    """

    name: str
    compare: Callable[[Tensor, Tensor], Tensor]

    @torch.no_grad()
    def distance(self, images: Tensor, truth: Tensor) -> Tensor:
        """(B,) float64 for whole composited pictures (B, C, H, W) in [-1, 1]; 0 for equal ones."""
        parts = [self.compare(a, b).flatten() for a, b in zip(images.split(_CHUNK), truth.split(_CHUNK))]
        return torch.cat(parts).double()


def official_weights(folder: str | Path | None = None) -> Path | None:
    """The file of AlexNet's weights in a folder, torch's download folder if None; None where there is none."""
    folder = Path(folder) if folder is not None else Path(torch.hub.get_dir()) / "checkpoints"
    return next(iter(sorted(folder.glob("alexnet-*.pth"))), None)


def perceptual_metric(judge: Judge | None, folder: str | Path | None = None) -> Perceptual:
    """LPIPS with AlexNet where torchvision's weights are on disk, otherwise the same formula on the judge's layers.

    Args:
        judge: the world's judge; None where it has none, which leaves AlexNet.
        folder: where the weights would be, see `official_weights`. Nothing is downloaded.

    Raises:
        FileError: for a weights file that is not whole.
        TiramisuError: there is neither a judge nor a weights file.
    Source: Zhang, Isola, Efros, Shechtman, Wang, The Unreasonable Effectiveness of Deep Features as a Perceptual
        Metric, CVPR 2018, equation 1; the `lpips` package has its linear weights.
    """
    if weights := official_weights(folder):
        network = _official_network(weights)
        return Perceptual("LPIPS (AlexNet)", lambda a, b: network(_enlarged(a), _enlarged(b)))
    if judge is None:
        raise TiramisuError("LPIPS needs a judge or AlexNet's weights: `tiramisu-edu doctor` says how to get them")
    return Perceptual("LPIPS formula, judge's layers", lambda a, b: layer_distance(judge.layers(a), judge.layers(b)))


def layer_distance(layers: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """The LPIPS formula with all channels weighed alike.

    d_b = sum_l mean_{h, w} | y_lhw - y'_lhw |^2      y_lhw: channels at a position of layer l, scaled to length 1

    Args: layers, others: per layer (B, C_l, H_l, W_l).
    Returns: (B,).
    """
    distances = [
        (F.normalize(y, dim=1, eps=1e-10) - F.normalize(other, dim=1, eps=1e-10)).square().sum(1).mean((1, 2))
        for y, other in zip(layers, others)
    ]
    return torch.stack(distances).sum(0)


def frechet_distance(features: Tensor, others: Tensor) -> float:
    """Frechet distance between two sets of pictures, as normal distributions of features: do they look alike as sets?

    |m - m'|^2 + tr(S + S' - 2 (S^(1/2) S' S^(1/2))^(1/2))      m, S: mean and covariance of a set

    Fewer pictures make it larger, so compare only sets of the same size; have more pictures than features.

    Args: features (N, D) and others (M, D), for example `judge.features(images)`; N, M >= 2.
    Raises:
        ImageError: for a set of fewer than two.
    Source: Heusel, Ramsauer, Unterthiner, Nessler, Hochreiter, GANs Trained by a Two Time-Scale Update Rule, 2017.
    """
    if min(len(features), len(others)) < 2:
        raise ImageError(f"a covariance needs two pictures or more, not {len(features)} and {len(others)}")
    x, y = features.detach().double(), others.detach().double()
    s_x, s_y = torch.cov(x.T), torch.cov(y.T)
    values, vectors = torch.linalg.eigh(s_x)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    common = torch.linalg.eigvalsh(root @ s_y @ root).clamp_min(0).sqrt().sum()
    return float((x.mean(0) - y.mean(0)).square().sum() + s_x.trace() + s_y.trace() - 2 * common)


@lru_cache(maxsize=1)
def _official_network(path: Path) -> lpips.LPIPS:
    """The lpips package's network and linear weights on AlexNet's features from a torchvision file.

    Raises:
        FileError: where the file's SHA-256 does not begin with the digits at the end of its name.
    """
    if not sha256(path).startswith(path.stem.rpartition("-")[2]):
        raise FileError(f"{path} is not the file that its name says (SHA-256): delete it and download it again")
    state = torch.load(path, map_location="cpu", weights_only=True)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # the package asks torchvision for its weights in an old way
        network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)  # and pnet_rand keeps it from downloading
    for part in network.net.children():
        for number, layer in part.named_children():
            layer.load_state_dict({name: state[f"features.{number}.{name}"] for name in layer.state_dict()})
    return network.requires_grad_(False)


def _enlarged(images: Tensor) -> Tensor:
    """Three channels, and at least SMALLEST pixels a side."""
    images = images.expand(-1, 3, -1, -1)
    scale = SMALLEST / min(images.shape[2:])
    return images if scale <= 1 else F.interpolate(images, scale_factor=scale, mode="bilinear", align_corners=False)
