"""Small transformers over the codes of a picture: one that reads them in order, a GPT, and one that fills in gaps.

    GPT       p(z) = prod_j p(z_j | z_0 ... z_{j-1}),   codes in reading order
    masked    p(z_j | the codes that are seen) for every hidden j, of any part of the picture

Letters: N pictures, n codes of each, V symbols; symbol V stands for the start, or for a hidden code.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tiramisu_edu.checkpoint import Checkpoint
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.files import tensor_digest
from tiramisu_edu.lab.recipes.training import Clock, Training, own_rows, seeded

READ = 256  # pictures at once where nothing is learned


@dataclass(frozen=True)
class TransformerSettings:
    """Size and training.

    Attributes:
        causal: a GPT; otherwise every code looks at all.
        width, depth, heads: of the layers; each has an attention and two linear maps with 4 x width numbers between.
        dropout: share of the numbers that are left out of what each layer adds.
        epochs: passes over the training codes.
        batch_size: pictures per step.
        rate: learning rate at its highest; it rises for `warmup` steps and falls to 0 along a cosine.
        weight_decay: of the matrices.
        seed: of everything random.
    """

    causal: bool = True
    width: int = 128
    depth: int = 4
    heads: int = 4
    dropout: float = 0.1
    epochs: int = 20
    batch_size: int = 64
    rate: float = 2e-3
    warmup: int = 200
    weight_decay: float = 0.05
    seed: int = 0


class _Layer(nn.Module):
    """x + attention(x), then x + relu(x A)^2 B, each of what is normalised before."""

    def __init__(self, s: TransformerSettings, num_places: int) -> None:
        super().__init__()
        self.heads, self.drop = s.heads, nn.Dropout(s.dropout)
        self.before_attention, self.before_maps = nn.LayerNorm(s.width), nn.LayerNorm(s.width)
        self.queries_keys_values = nn.Linear(s.width, 3 * s.width)
        self.attended = nn.Linear(s.width, s.width)
        self.wide, self.narrow = nn.Linear(s.width, 4 * s.width), nn.Linear(4 * s.width, s.width)
        later = torch.full((num_places, num_places), -torch.inf).triu(1)
        self.register_buffer("hidden", later if s.causal else torch.zeros_like(later))

    def forward(self, x: Tensor) -> Tensor:
        """(N, n, width) -> the same."""
        parts = self.queries_keys_values(self.before_attention(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each (N, heads, n, width / heads)
        odds = query @ key.mT / math.sqrt(query.shape[-1]) + self.hidden
        read = (odds.softmax(-1).to(value) @ value).transpose(1, 2).flatten(2)
        x = x + self.drop(self.attended(read))
        return x + self.drop(self.narrow(F.relu(self.wide(self.before_maps(x))).square()))


class CodeTransformer(nn.Module):
    """Layers between an embedding of codes and places, and a distribution over codes at every place.

    Args:
        num_codes: V.
        num_places: n.
        settings: see `TransformerSettings`.
    """

    def __init__(self, num_codes: int, num_places: int, settings: TransformerSettings) -> None:
        super().__init__()
        self.num_codes, self.causal = num_codes, settings.causal
        self.symbol = nn.Embedding(num_codes + 1, settings.width)
        self.place = nn.Parameter(0.02 * torch.randn(num_places, settings.width))
        self.layers = nn.Sequential(*(_Layer(settings, num_places) for _ in range(settings.depth)))
        self.normalise = nn.LayerNorm(settings.width)
        self.logits = nn.Linear(settings.width, num_codes)
        nn.init.normal_(self.symbol.weight, std=0.02)

    def features(self, seen: Tensor) -> Tensor:
        """What the last layer knows at each place, (N, n, width), from symbols (N, n) long, V where hidden."""
        return self.normalise(self.layers(self.symbol(seen) + self.place))

    def nats(self, codes: Tensor, hidden: Tensor | None = None) -> Tensor:
        """-log p of every code, (N, n): given those before it, or given those that are not `hidden`, (N, n) bool."""
        if self.causal:
            seen = F.pad(codes[:, :-1], (1, 0), value=self.num_codes)
        else:
            seen = codes if hidden is None else codes.masked_fill(hidden, self.num_codes)
        logits = self.logits(self.features(seen)).float()
        return F.cross_entropy(logits.flatten(0, 1), codes.flatten(), reduction="none").view_as(codes)

    @torch.no_grad()
    def bits(self, codes: Tensor, hidden: Tensor | None = None) -> Tensor:
        """-log2 p per code of each picture, (N,), over all codes, or over the hidden ones."""
        self.eval()
        masks = [None] * len(codes.split(READ)) if hidden is None else hidden.split(READ)
        nats = torch.cat([self.nats(*part) for part in zip(codes.split(READ), masks)]).double()
        shares = torch.ones_like(nats) if hidden is None else hidden.double()
        return (nats * shares).sum(1) / shares.sum(1) / math.log(2)


class Looks:
    """Bits of the validation codes from time to time, and the weights that were best.

    Attributes:
        steps, seconds, bits: of each look: steps made, processor time spent on training, validation bits per code.
        best: weights of the best look.
    """

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.seconds: list[float] = []
        self.bits: list[float] = []
        self.best: dict[str, Tensor] = {}
        self.spent, self.since = 0.0, time.process_time()

    def add(self, network: CodeTransformer, step: int, judge: Callable[[], Tensor]) -> None:
        """Look at the network as it is; the time that looking takes is not counted."""
        seconds = self.now()
        bits = float(judge().mean())
        if not self.bits or bits < min(self.bits):
            self.best = {name: value.clone() for name, value in network.state_dict().items()}
        self.steps.append(step)
        self.seconds.append(seconds)
        self.bits.append(bits)
        print(f"step {step}, {seconds:.0f} s: {bits:.4f} bits per code", flush=True)
        network.train()
        self.since = time.process_time()

    def now(self) -> float:
        """Processor time spent on training, that of killed runs included."""
        moment = time.process_time()
        self.spent, self.since = self.spent + moment - self.since, moment
        return self.spent

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "seconds": self.seconds, "bits": self.bits, "best": self.best, "spent": self.now()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.since = time.process_time()


def train_transformer(
    codes: Tensor,
    validation: Tensor,
    num_codes: int,
    s: TransformerSettings,
    checkpoint: Path | None = None,
    minutes: float | None = None,
) -> tuple[CodeTransformer, Looks]:
    """Train to the end of the schedule; the weights are those that were best on the validation codes.

    Args:
        codes, validation: (N, n) long.
        num_codes: V.
        checkpoint: file to go on from.
        minutes: after which training stops wherever it is, that of killed runs counted.

    Raises:
        TiramisuError: they were over before the first pass.
    """
    with seeded(s.seed):
        network = CodeTransformer(num_codes, codes.shape[1], s)
        per_epoch = len(codes) // s.batch_size
        steps = s.epochs * per_epoch
        matrices = [p for p in network.parameters() if p.ndim > 1]
        others = [p for p in network.parameters() if p.ndim == 1]
        groups = [{"params": matrices, "weight_decay": s.weight_decay}, {"params": others, "weight_decay": 0.0}]
        optimiser = torch.optim.AdamW(groups, lr=s.rate, betas=(0.9, 0.98))
        rate = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda t: min(1, (t + 1) / s.warmup) * (1 + math.cos(math.pi * t / steps)) / 2
        )
        looks, generator = Looks(), torch.Generator().manual_seed(s.seed)
        gaps = None if s.causal else random_gaps(validation, torch.Generator().manual_seed(1))

        def loss(step: int) -> Tensor:
            order = torch.randperm(len(codes), generator=torch.Generator().manual_seed(step // per_epoch))
            rows = order[step % per_epoch * s.batch_size :][own_rows(s.batch_size)]
            hidden = None if s.causal else random_gaps(codes[rows], generator)
            with torch.autocast("cpu", torch.bfloat16):
                nats = network.nats(codes[rows], hidden)
            return nats.mean() if hidden is None else (nats * hidden).sum() / hidden.sum()

        def after(step: int, _: Tensor) -> None:
            if step % per_epoch == 0:
                looks.add(network, step, lambda: network.bits(validation, gaps))

        request = {"settings": asdict(s), "codes": tensor_digest({"codes": codes})}
        training = Training(network.train(), rate, generator, Clock(steps, minutes), {"looks": looks}, 1.0)
        training.run("transformer", loss, Checkpoint(checkpoint, request), after=after)
    if not looks.best:
        raise TiramisuError(f"no pass over the pictures ended within {minutes} minutes: ask for more")
    network.load_state_dict(looks.best)
    return network.eval(), looks


def random_gaps(codes: Tensor, generator: torch.Generator) -> Tensor:
    """One rectangle per picture, sides of 1, 2, 4 or 8 codes, anywhere: what the masked transformer is asked, (N, n).

    Source: the published teacher, whose sides are 2, 4, 8 or 16 of 16.
    """
    side = math.isqrt(codes.shape[1])
    lengths = 2 ** torch.randint(4, (2, len(codes), 1), generator=generator)
    first = (torch.rand(2, len(codes), 1, generator=generator) * (side + 1 - lengths).clamp_min(1)).long()
    place = torch.arange(side)
    rows, columns = (place >= first) & (place < first + lengths)
    return (rows[:, :, None] & columns[:, None, :]).flatten(1)
