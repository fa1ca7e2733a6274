"""The judge: a small classifier that says which digit a completed picture shows.

It is trained on the training split only, with the noise, blur and shifts that completions show, and takes no
part in making the pictures it judges.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tiramisu_edu.errors import FileError
from tiramisu_edu.files import load_safetensors, save_safetensors
from tiramisu_edu.worlds import digits

NUM_FEATURES = 64
FILE = "digits/judge.safetensors"
_KIND, _VERSION = "digits judge", 1


class Judge(nn.Module):
    """A convolutional classifier of 8 x 8 digits: log p(digit | image).

    Three convolutions with group norm, one pooling, then features and a linear layer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1),
            nn.GroupNorm(4, 24),
            nn.SiLU(),
            nn.Conv2d(24, 48, 3, padding=1),
            nn.GroupNorm(4, 48),
            nn.SiLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(48, 64, 3, padding=1),
            nn.GroupNorm(4, 64),
            nn.SiLU(),
            nn.MaxPool2d(2),
        )
        self.project = nn.Linear(64 * 2 * 2, NUM_FEATURES)
        self.dropout = nn.Dropout(0.3)
        self.classify = nn.Linear(NUM_FEATURES, 10)

    def forward(self, images: Tensor) -> Tensor:
        """log p(digit | image).

        Args: images (B, 1, 8, 8) in [-1, 1].
        Returns: (B, 10) log-probabilities.
        """
        return F.log_softmax(self.classify(self.dropout(self.features(images))), dim=1)

    def features(self, images: Tensor) -> Tensor:
        """What the judge sees before it decides: (B, 1, 8, 8) -> (B, 64), for distances between pictures."""
        return F.silu(self.project(self.convolutions(images).flatten(1)))

    def save(self, path: str | Path, **metadata: object) -> None:
        """Writes the weights in half precision, with the metadata given."""
        weights = {name: value.half() for name, value in self.state_dict().items()}
        save_safetensors(path, weights, kind=_KIND, version=_VERSION, metadata=metadata)

    @classmethod
    def load(cls, path: str | Path) -> "Judge":
        """Reads a judge for use: float32, no dropout, weights fixed (gradients still reach the images).

        Raises: FileError for a file that is missing, damaged or of another kind.
        """
        weights, _ = load_safetensors(path, kind=_KIND, version=_VERSION)
        with torch.device("meta"):  # no initial weights, hence no draw from the global generator
            judge = cls()
        try:
            judge.load_state_dict({name: value.float() for name, value in weights.items()}, assign=True)
        except RuntimeError as reason:
            raise FileError(f"{path} holds a judge of another shape: {reason}") from None
        return judge.eval().requires_grad_(False)


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
        judge = _fit(Judge(), images, labels, epochs, torch.Generator().manual_seed(seed))
    judge.save(out_path, seed=seed, epochs=epochs)
    return accuracy(Judge.load(out_path), *digits.images("test"))


def accuracy(judge: Judge, images: Tensor, labels: Tensor) -> float:
    """The share of images (N, 1, 8, 8) that the judge reads as their labels (N,)."""
    with torch.no_grad():
        return (judge(images).argmax(1) == labels).double().mean().item()


def _fit(judge: Judge, images: Tensor, labels: Tensor, epochs: int, generator: torch.Generator) -> Judge:
    """AdamW with one warm-up and cosine decay, on augmented images in batches of 64."""
    batches_per_epoch = -(-len(images) // 64)
    optimiser = torch.optim.AdamW(judge.parameters(), lr=3e-3, weight_decay=0.05)
    decay = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=3e-3, total_steps=epochs * batches_per_epoch)
    judge.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(images), generator=generator).split(64):
            loss = F.nll_loss(judge(_augmented(images[batch], generator)), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            decay.step()
    return judge.eval()


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
