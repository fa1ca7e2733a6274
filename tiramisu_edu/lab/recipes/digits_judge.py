"""The recipe of the digits' judge: which digit does a completed picture show?"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..worlds import digits
from ..worlds.judge import Judge, accuracy, fit_judge

FILE = "digits/judge.safetensors"


def train_digits_judge(out_path: str | Path, seed: int = 0, epochs: int = 60) -> float:
    """Trains the judge on the training split and saves it.

    Args:
        out_path: the safetensors file to write.
        seed: of initial weights, batches, dropout and augmentation.
        epochs: passes over the 1297 images.

    Returns: accuracy on the test split, of the judge as saved.
    """
    images, labels = digits.images("train")
    with torch.random.fork_rng(devices=[]):  # nn layers draw from the global generator; leave it as it was
        torch.manual_seed(seed)
        judge = Judge([10], size=8, channels=1, patch=1, widths=(24, 48, 64), num_features=64)
        fit_judge(
            judge,
            images,
            labels[:, None],
            epochs=epochs,
            batch_size=64,
            learning_rate=3e-3,
            augment=_augmented,
            generator=torch.Generator().manual_seed(seed),
        )
    judge.save(out_path, seed=seed, epochs=epochs)
    test_images, test_labels = digits.images("test")
    return accuracy(Judge.load(out_path), test_images, test_labels[:, None]).item()


def _augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """(B, 1, 8, 8) shifted by up to a pixel, blurred and made noisy, each image by its own amount."""
    count = len(images)
    row, col = torch.randint(3, (2, count, 1), generator=generator)
    rows, cols = row + torch.arange(8), col + torch.arange(8)
    padded = F.pad(images, (1, 1, 1, 1), value=-1.0).squeeze(1)  # (B, 10, 10)
    shifted = padded[torch.arange(count)[:, None, None], rows[:, :, None], cols[:, None, :]].unsqueeze(1)

    # A third stays where and as it was, so that the unshifted picture remains the common case.
    plain = torch.rand(count, 1, 1, 1, generator=generator) < 1 / 3
    softness, noise = torch.rand(2, count, 1, 1, 1, generator=generator) * 0.4
    blurred = F.avg_pool2d(F.pad(shifted, (1, 1, 1, 1), value=-1.0), 3, stride=1)
    mixed = (1 - softness) * shifted + softness * blurred
    changed = mixed + noise * torch.randn(shifted.shape, generator=generator)
    return torch.where(plain, images, changed.clamp(-1.0, 1.0))
