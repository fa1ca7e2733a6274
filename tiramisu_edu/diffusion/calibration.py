"""How far off a denoiser's clean predictions are at each noise level: Var[x_0 | x_t], which guides weigh them by."""

from __future__ import annotations

import warnings
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..checkpoint import Checkpoint
from ..checks import check_images
from ..errors import TiramisuError
from ..files import load_safetensors, save_safetensors, tensor_digest
from .denoiser import Denoiser
from .noise import standard_normal
from .samplers import ddim
from .schedule import Schedule

VARIANCE_FLOOR = (0.5 / 127.5) ** 2  # half a grey level of 256: no prediction is trusted more than this
FEW = 8  # pictures that suffice: a variance per noise level is a mean over all their pixels
POINTS = 12  # noise levels at which it is then measured
STEPS = 10  # of a draw
CACHE, KIND, VERSION = "tiramisu_calibration.safetensors", "calibration", 1


def calibrated(denoiser: Denoiser, images: Tensor) -> Schedule:
    """The denoiser's schedule with its residual variance, measured in seconds on a few pictures.

    It is kept in a file beside a model that was read from a folder, and read from there the next time, as long as
    weights and pictures are the same.

    Args:
        images: (M, C, H, W) in [-1, 1].
    """
    images = images if denoiser.autoencoder is None else denoiser.autoencoder.encode(images)
    weights = {name: tensor.float() for name, tensor in denoiser.network.state_dict().items()}
    digest = tensor_digest({**weights, "": images})
    folder = Path(denoiser.facts.get("source", ""))
    path = folder / CACHE if "source" in denoiser.facts and folder.is_dir() else None
    if path is not None and path.is_file():
        tensors, metadata = load_safetensors(path, kind=KIND, version=VERSION)
        if metadata["of"] == digest:
            return denoiser.schedule.with_residual_variance(tensors["residual_variance"])
    generator = torch.Generator().manual_seed(0)
    variance = calibrate_residual_variance(denoiser, images, generator, points=POINTS, repeats=1, batch_size=FEW)
    if path is not None:
        try:
            save_safetensors(path, {"residual_variance": variance}, kind=KIND, version=VERSION, metadata={"of": digest})
        except OSError:
            warnings.warn(f"the calibration cannot be kept in {path}; it is made again next time", stacklevel=2)
    return denoiser.schedule.with_residual_variance(variance)


def drawn(denoiser: Denoiser, count: int) -> Tensor:
    """Pictures (count, C, H, W) from the denoiser itself, by a short DDIM: for a calibration without pictures.

    Raises:
        TiramisuError: its network does not state channels and size of its pictures.
    """
    if denoiser.shape is None:
        raise TiramisuError("the guide needs Var[x_0 | x_t] of the denoiser: give pictures=, a few held-out images")
    device = next(denoiser.parameters()).device
    nothing, coder = torch.zeros(count, *denoiser.shape, device=device), denoiser.autoencoder
    nothing = nothing if coder is None else 0 * coder.encode(nothing)
    generator = torch.Generator().manual_seed(0)
    found = ddim(denoiser, denoiser.schedule.respace(STEPS), nothing, nothing > 0, generator=generator)
    return found if coder is None else coder.decode(found)


@torch.no_grad()
def calibrate_residual_variance(
    denoiser: Denoiser,
    images: Tensor,
    generator: torch.Generator,
    *,
    points: int = 48,
    repeats: int = 4,
    batch_size: int = 256,
    checkpoint: str | Path | None = None,
) -> Tensor:
    """How far off the clean prediction is: r_t^2 = mean over images and pixels of (x_0 - prediction.x_0)^2.

    Taken at `points` times and interpolated in between, log r^2 linear in the log signal-to-noise ratio. It
    stands for Var[x_0 | x_t] of a pixel, and keeps the width of the denoiser's distribution honest: use
    images that the network has not seen. Never below (0.5 / 127.5)^2, half a grey level.

    Args:
        denoiser: the model to measure.
        images: (M, C, H, W) clean images in [-1, 1].
        generator: of the noise.
        points: times to measure, evenly spread, both ends included.
        repeats: noise draws per image and time.
        batch_size: images per network call.
        checkpoint: file to go on from, written between times.

    Returns:
        (N,) float64 on the CPU, for `Schedule.with_residual_variance`.
    """
    schedule = denoiser.schedule
    times = (torch.arange(points) * (len(schedule) - 1) / max(points - 1, 1)).round().long().unique()
    device = next(denoiser.parameters(), images).device
    check_images("images", images, limit=denoiser.limit)
    copies = images.to(device).repeat(repeats, 1, 1, 1)

    def measured(i: int) -> float:
        total = 0.0
        for x_0 in copies.split(batch_size):
            noise = standard_normal(x_0, generator)
            prediction = denoiser(schedule.add_noise(x_0, i, noise), i)
            total += float((x_0 - prediction.x_0).double().square().sum())
        return max(total / copies.numel(), VARIANCE_FLOOR)

    request = {"points": points, "data": tensor_digest({"images": copies, **denoiser.state_dict()})}
    jobs = [partial(measured, i) for i in times.tolist()]
    variances = Checkpoint(checkpoint, request).results(jobs, generator, "calibration")
    log_snr = schedule.log_snr.numpy()  # falls with the time
    return torch.from_numpy(np.exp(np.interp(-log_snr, -log_snr[times.numpy()], np.log(variances))))
