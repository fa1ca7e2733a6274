"""The tokenizer: pictures as a grid of codes from a learned vocabulary, and back (a VQ autoencoder).

    h_j = encoder(patch j),   z_j = argmin_c |h_j - e_c|,   image = decoder(e_{z_1}, ..., e_{z_n})

A circuit over the n codes z is a model of whole pictures in a short alphabet; a denoiser's prediction of the pixels
reaches it as a distribution over codes, `log_probabilities`.

The encoder looks at one patch of 4 x 4 pixels at a time, so the code of a patch that is fully known does not depend
on what is hidden beside it. The decoder looks at the neighbours too, and smooths the seams. Both are told where in
the picture a patch lies: a code may be an eye in one place and a stripe of a shirt in another. diffusers has a VQModel
too; with 0.4 million weights it trains at a fifth of the rate (230 against 1200 images of 32 x 32 a second and core),
and its normalisation and attention make every code depend on the whole picture.

Letters: N images, n = H W / 16 patches in reading order, V codes, D numbers per code.
Source: van den Oord, Vinyals, Kavukcuoglu, Neural Discrete Representation Learning, NeurIPS 2017.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from .checks import check_images, instance, positive_integer
from .diffusion.networks import WEIGHTS, build_network, network_config, read_json, read_network
from .diffusion.pretrained import model_folder
from .errors import FileError, ImageError, TiramisuError
from .files import loaded, reading, save_safetensors, with_weights
from .taming import vq_model

KIND, VERSION = "tokenizer", 1
PATCH = 4  # pixels along the side of a patch
WAVES = 8  # cosines along each side that say where a patch lies: enough to tell 8 x 8 places apart


class Tokenizer(nn.Module):
    """Encoder, codebook and decoder.

    Args:
        num_codes: V.
        code_size: D.
        width: channels inside encoder and decoder.
        channels: of the images.
    """

    batch = 512  # pictures encoded at a time
    patch = PATCH  # pixels along the side of a patch
    limit = 1.0  # pictures hold numbers in [-limit, limit]
    codebook: Tensor  # (V, D)
    spread: Tensor  # () the root mean squared distance, per number of a code, from features to their codes

    def __init__(self, *, num_codes: int = 256, code_size: int = 8, width: int = 96, channels: int = 3) -> None:
        super().__init__()
        sizes = {"num_codes": num_codes, "code_size": code_size, "width": width, "channels": channels}
        self.config: dict[str, Any] = {name: positive_integer(name, size) for name, size in sizes.items()}
        self.facts: dict[str, Any] = {}
        self.encoder = nn.Sequential(
            nn.Conv2d(channels * PATCH**2 + WAVES**2, width, 1),
            nn.SiLU(),
            nn.Conv2d(width, width, 1),
            nn.SiLU(),
            nn.Conv2d(width, code_size, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(code_size + WAVES**2, width, 1),
            _Residual(width),
            _Residual(width),
            nn.Conv2d(width, channels * PATCH**2, 1),
            nn.PixelShuffle(PATCH),
        )
        self.register_buffer("codebook", torch.zeros(num_codes, code_size))
        self.register_buffer("spread", torch.ones(()))

    @property
    def num_codes(self) -> int:
        """V."""
        return len(self.codebook)

    @property
    def channels(self) -> int:
        """C."""
        return self.config["channels"]

    def embed(self, images: Tensor) -> Tensor:
        """The encoder's features, before they are rounded to codes: (N, C, H, W) -> (N, n, D), differentiable.

        Raises:
            ImageError: for images of other channels, that are not square, or whose sides are no multiples of the
                patch's.
        """
        check_images("images", images)
        if images.shape[1] != self.channels or images.shape[2] != images.shape[3]:
            raise ImageError(f"expected square images (N, {self.channels}, H, H), not {tuple(images.shape)}")
        if images.shape[3] % self.patch:
            raise ImageError(f"{images.shape[3]} pixels are no multiple of {self.patch}: crop or resize the images")
        return self._encoder(images.to(self.codebook.dtype)).flatten(2).mT

    def _encoder(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D, h, w)."""
        return self.encoder(_with_place(F.pixel_unshuffle(images, PATCH)))

    def _decoder(self, grid: Tensor) -> Tensor:
        """(N, D, h, w) -> (N, C, H, W)."""
        return self.decoder(_with_place(grid))

    def generate(self, features: Tensor) -> Tensor:
        """The decoder: (N, n, D) -> images (N, C, H, W), differentiable, not clipped.

        Raises:
            TiramisuError: where n is no square.
        """
        side = math.isqrt(features.shape[1])
        if side**2 != features.shape[1]:
            raise TiramisuError(f"{features.shape[1]} codes do not fill a square grid")
        return self._decoder(features.mT.unflatten(2, (side, side)))

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """The nearest code of every patch: images (N, C, H, W) in [-1, 1] -> (N, n) long. Raises: as `embed`."""
        check_images("images", images)
        return torch.cat([self._distances(self.embed(part)).argmin(-1) for part in images.split(self.batch)])

    def decode(self, codes: Tensor) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] of codes (N, n) long in 0..V-1. Raises: as `generate`."""
        instance("codes", codes, Tensor)
        if codes.dtype != torch.long or codes.ndim != 2 or not bool(((codes >= 0) & (codes < self.num_codes)).all()):
            raise TiramisuError(
                f"codes must be (N, n) long in 0 ... {self.num_codes - 1}, not {codes.dtype} {tuple(codes.shape)}"
            )
        return self.generate(self.codebook[codes]).clamp(-self.limit, self.limit)

    def log_probabilities(self, images: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
        """How well each code explains each patch: soft evidence for a circuit over codes, differentiable.

            log P_j(c) = log softmax_c( -d_jc / temperature ),   d_jc = |h_j - e_c| / (sqrt(D) spread)

        A distance of 1 is the usual rounding error of training images, so a temperature near 1 suits patches that are
        guessed, one near 0 (only the nearest code counts) patches that are known. Distances serve better than their
        squares: where faces were filled with a posterior mean, the true codes were likelier by 0.1 to 0.2 nats a
        patch, both at their best temperature (1, and 2 under heavy noise).

        Args:
            images: (N, C, H, W) in [-1, 1], the known pixels and a guess of the hidden ones.
            temperature: positive; a number, or one per patch, (N, n, 1).

        Returns: (N, n, V).
        Raises:
            TiramisuError: for a temperature that is not positive.
            ImageError: as `embed`.
        Source: the published latent steering (Liu, Niepert, Van den Broeck, ICLR 2024), which divides by sqrt(D) alone.
        """
        temperature = torch.as_tensor(temperature, dtype=images.dtype, device=images.device)
        if not bool((temperature > 0).all()):
            raise TiramisuError(f"temperature must be positive, not {float(temperature.min()):g}")
        return F.log_softmax(-self._distances(self.embed(images)) / temperature, dim=-1)

    def save(self, path: str | Path, facts: Mapping[str, Any], *, half: bool = True) -> None:
        """Writes the weights, in half precision or as they are, the configuration, and JSON-able facts on training."""
        weights = {name: value.half() if half else value for name, value in self.state_dict().items()}
        metadata = {"config": self.config, "facts": dict(facts)}
        save_safetensors(path, weights, kind=KIND, version=VERSION, metadata=metadata)

    @classmethod
    def load(cls, path: str | Path) -> Tokenizer:
        """Reads a tokenizer for use: float32, weights fixed (gradients still reach the images).

        Raises:
            FileError: for a file that is missing, damaged or of another kind.
        """
        with loaded(path, kind=KIND, version=VERSION) as (weights, metadata):
            config = metadata["config"]
            of_vq = "class" in config
            build = (lambda: VQTokenizer(build_network(config))) if of_vq else (lambda: Tokenizer(**config))
            tokenizer = with_weights(build, weights)
            tokenizer.facts = dict(metadata["facts"])
        return tokenizer

    @staticmethod
    def from_pretrained(source: str | Path, revision: str | None = None, variant: str | None = None) -> VQTokenizer:
        """A VQModel of diffusers, or a VQ-GAN checkpoint of taming-transformers or latent-diffusion.

        Args:
            source: the folder of a VQModel or of a pipeline with one, a hub name, or a safetensors file.
            revision: commit or tag on the hub.
            variant: of the weights, such as "fp16".

        Raises:
            FileError: nothing of the kind, or a pickle.
        """
        if Path(source).is_file():
            if Path(source).suffix != ".safetensors":
                raise FileError(f"{source} is no safetensors file; a pickle can run code: convert it first")
            with reading(source):
                description, weights = vq_model(load_file(source))
                return VQTokenizer(with_weights(lambda: build_network(description), weights))
        folder = model_folder(source, revision, ["*.json", f"*{WEIGHTS}*.safetensors*"])
        inside = next((folder / name for name in ("vqvae", "movq") if (folder / name).is_dir()), folder)
        if (name := read_json(inside / "config.json").get("_class_name")) != "VQModel":
            raise FileError(f"{source} holds a {name}, expected a VQModel")
        return VQTokenizer(read_network(inside, "VQModel", variant)).eval()

    def _distances(self, features: Tensor) -> Tensor:
        """d, (N, n, V), in units of the usual rounding error, from features (N, n, D)."""
        return torch.cdist(features, self.codebook) / (math.sqrt(self.codebook.shape[1]) * self.spread)


class VQTokenizer(Tokenizer):
    """A trained VQModel of diffusers, or a VQ-GAN, with the same verbs.

    Its encoder looks at the whole picture, so that what is hidden beside a patch touches the patch's code. Distances
    have the units of the published latent steering: spread is 1.

    Args:
        network: a VQModel.
    """

    batch = 8  # such networks are large

    def __init__(self, network: nn.Module) -> None:
        nn.Module.__init__(self)
        self.network: Any = network
        self.config, self.facts = network_config(network), {}
        self.patch = 2 ** (len(self.config["config"]["block_out_channels"]) - 1)
        self.register_buffer("spread", torch.ones(()))

    @property
    def codebook(self) -> Tensor:  # type: ignore[override]
        """(V, D)."""
        return self.network.quantize.embedding.weight

    @property
    def channels(self) -> int:
        return self.config["config"]["in_channels"]

    def _encoder(self, images: Tensor) -> Tensor:
        return self.network.encode(images).latents

    def _decoder(self, grid: Tensor) -> Tensor:
        return self.network.decode(grid, force_not_quantize=True).sample


def _with_place(grid: Tensor) -> Tensor:
    """(N, C, h, w) -> (N, C + 64, h, w): adds cos(pi k (row + 1/2) / h) cos(pi l (column + 1/2) / w), k, l = 0 ... 7.

    On an 8 x 8 grid these are a basis: a linear layer makes any table of places from them, and reads it off between
    its entries on a finer grid.
    """
    waves = torch.arange(WAVES, dtype=torch.float32)
    down, across = (
        torch.cos(math.pi / n * waves[:, None] * (torch.arange(n, dtype=torch.float32) + 0.5)) for n in grid.shape[2:]
    )
    place = torch.einsum("kh,lw->klhw", down, across).flatten(0, 1)
    return torch.cat([grid, place.to(grid).expand(len(grid), -1, -1, -1)], dim=1)


class _Residual(nn.Module):
    """x + conv(SiLU(conv3x3(SiLU(x)))): a look at the neighbouring patches."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(width, width, 3, padding=1)
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(F.silu(self.look(F.silu(x))))
