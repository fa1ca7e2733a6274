"""The codes of a denoiser's latents, with the verbs of a tokenizer: for a circuit over them."""

from __future__ import annotations

import math

from torch import Tensor

from .diffusion.autoencoder import Autoencoder
from .errors import TiramisuError
from .tokenizer import VQTokenizer


class LatentCodes(VQTokenizer):
    """The codes of a denoiser's latents: its "pictures" are latents, each place of which is one patch.

    Args:
        autoencoder: of the denoiser.

    Raises:
        TiramisuError: its latents are not rounded to codes.
    """

    limit = math.inf

    def __init__(self, autoencoder: Autoencoder) -> None:
        if not hasattr(autoencoder.network, "quantize"):
            name = type(autoencoder.network).__name__
            raise TiramisuError(f"the latents of an {name} have no codes for a circuit: choose guide='none'")
        super().__init__(autoencoder.network)
        self.patch, self.scale, self.shift = 1, autoencoder.scale, autoencoder.shift

    @property
    def channels(self) -> int:
        return self.codebook.shape[1]

    def _encoder(self, images: Tensor) -> Tensor:
        return images / self.scale + self.shift

    def _decoder(self, grid: Tensor) -> Tensor:
        return (grid - self.shift) * self.scale
