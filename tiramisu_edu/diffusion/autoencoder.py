"""Pictures to latents and back, for denoisers that work in the latents of an autoencoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from ..checks import check_images
from ..errors import ImageError, TiramisuError


class Autoencoder(nn.Module):
    """A VQModel or AutoencoderKL of diffusers, with the scale of the latents that a denoiser was trained on.

        z = (encoder(x) - shift) scale,   x = decoder(z / scale + shift)

    The latents of an AutoencoderKL are the modes of its posterior. A VQModel rounds latents to its codes when it
    decodes them, not before.

    Args:
        network: of diffusers.

    Raises:
        TiramisuError: the network scales its latents channel by channel.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network
        config: Any = network.config
        if config.get("latents_mean") is not None or config.get("latents_std") is not None:
            raise TiramisuError("an autoencoder with latents_mean or latents_std is not supported")
        self.factor = 2 ** (len(config["block_out_channels"]) - 1)  # pixels along the side of a latent
        self.scale, self.shift = config.get("scaling_factor") or 1.0, config.get("shift_factor") or 0.0

    def encode(self, images: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1] -> latents (B, c, H / f, W / f).

        Raises:
            ImageError: the sides are no multiples of f.
        """
        check_images("images", images)
        if images.shape[-2] % self.factor or images.shape[-1] % self.factor:
            raise ImageError(f"{images.shape[-2]} x {images.shape[-1]} pixels do not divide into {self.factor}s")
        found = self.network.encode(images)
        latents = found.latents if hasattr(found, "latents") else found.latent_dist.mode()
        return (latents - self.shift) * self.scale

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, c, h, w) -> pictures (B, C, f h, f w) in [-1, 1]."""
        return self.network.decode(latents / self.scale + self.shift).sample.clamp(-1, 1)

    def encode_known(self, image: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """Latents of a damaged picture, and which of them are known: those whose f x f pixels all are.

        Hidden pixels are encoded with the mean colour of the known ones. The encoder looks at neighbours too, so that
        latents beside the hole are not exactly those of the whole picture.

        Args:
            image: (B, C, H, W).
            known: bool, of a shape that broadcasts to it.

        Returns:
            latents (B, c, h, w), known (B, 1, h, w).

        Raises:
            ImageError: as `encode`, or where no latent of a picture is known.
        """
        known = known.expand(len(image), *known.shape[-3:]).all(1, keepdim=True) if known.ndim > 2 else known
        known = known.expand(len(image), 1, *image.shape[-2:])
        visible = torch.where(known, image, 0.0)
        mean = visible.sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp_min(1)
        latents = self.encode(torch.where(known, image, mean))
        whole = max_pool2d((~known).float(), self.factor) == 0
        if not bool(whole.flatten(1).any(1).all()):
            raise ImageError(f"the mask leaves no block of {self.factor} x {self.factor} pixels known in some picture")
        return latents, whole
