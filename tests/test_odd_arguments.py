"""Odd argument x public function: a TiramisuError with a sentence, or the right answer; never anything else."""

import numpy as np
import pytest
import torch

from tiramisu_edu import Circuit, fit_em, fuse, inpaint, load, structures
from tiramisu_edu.diffusion.denoiser import Denoiser
from tiramisu_edu.diffusion.schedule import Schedule
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.masks import mask
from tiramisu_edu.methods import make_guide
from tiramisu_edu.steering.patches import PatchCodebook
from tiramisu_edu.tokenizer import Tokenizer

DIGITS = load("digits")
IMAGE, KNOWN = torch.zeros(1, 1, 8, 8), mask("left", 8, 8)
ROWS = torch.randint(0, 3, (20, 4), generator=torch.Generator().manual_seed(0))
SEEDED = {"generator": torch.Generator().manual_seed(0)}
NAN = torch.full((1, 1, 8, 8), torch.nan)


def circuit():
    return Circuit(structures.mixture(4, num_categories=3, num_latents=2), generator=torch.Generator().manual_seed(0))


def em(train=ROWS, **options):
    return fit_em(circuit(), train, **{"epochs": 1, "progress": False} | options)


def repair(image=IMAGE, known=KNOWN, world=DIGITS, **options):
    return inpaint(world, image, known, **{"num_inference_steps": 1} | options)


def joined(references=(IMAGE[0], IMAGE[0]), regions="left-right", **options):
    return fuse(DIGITS, references, regions, **{"num_inference_steps": 1} | options)


def fitted(images=None, **options):
    images = torch.rand(9, 1, 4, 4, generator=torch.Generator().manual_seed(0)) if images is None else images
    return PatchCodebook.fit(images, **{"patch": 2, "num_codes": 3} | SEEDED | options)


CODEBOOK = fitted()
TOKENIZER = Tokenizer(num_codes=4, code_size=2, width=4, channels=1)
DENOISER = Denoiser(torch.nn.Identity(), Schedule.linear())
hclt, tree, rat = structures.hclt, structures.chow_liu_tree, structures.rat_spn
SIZES = {"num_categories": 3, "num_latents": 2}

REFUSED = {
    "load": [lambda: load(5), lambda: load("folder:x", size="big"), lambda: load("digit"), lambda: load(None)],
    "images": [lambda: DIGITS.images("test", -1), lambda: DIGITS.images("test", 2.5), lambda: DIGITS.images(3)],
    "inpaint": [
        lambda: repair("x"),
        lambda: repair(known="x"),
        lambda: repair(IMAGE.numpy()),
        lambda: repair(NAN),
        lambda: repair(torch.zeros(1, 3, 8, 8)),
        lambda: repair(torch.zeros(1, 1, 16, 16), mask("left", 16, 16)),
        lambda: repair(torch.zeros(1, 1, 16, 16), mask("left", 16, 16), guide="mixture"),
        lambda: repair(IMAGE[0]),
        lambda: repair(known=KNOWN.float()),
        lambda: repair(world="digits"),
        lambda: repair(sampler=3),
        lambda: repair(sampler="dim"),
        lambda: repair(guide=3),
        lambda: repair(num_inference_steps=2.5),
        lambda: repair(num_inference_steps=-1),
        lambda: repair(guided_fraction="x"),
        lambda: repair(guided_fraction=float("nan")),
        lambda: repair(eta="x"),
        lambda: repair(generator=-1),
        lambda: repair(generator=1.5),
        lambda: repair(generator=[0]),
    ],
    "fuse": [
        lambda: joined("xy"),
        lambda: joined(None),
        lambda: joined([IMAGE[0], "x"]),
        lambda: joined(torch.zeros(2, 3, 8, 8)),
        lambda: joined(NAN.expand(2, 1, 8, 8)),
        lambda: joined(regions=5),
        lambda: joined(coherence="x"),
        lambda: joined(coherence=float("nan")),
        lambda: joined(num_images=-1),
        lambda: joined(num_images=1.5),
        lambda: joined(generator=-1),
        lambda: joined(num_inference_steps=2.5),
        lambda: joined(model="words"),
    ],
    "fit_em": [
        lambda: em("abcd"),
        lambda: em([[0, 1, 2, 0]]),
        lambda: em(ROWS[:0]),
        lambda: em(ROWS[:, :3]),
        lambda: em(ROWS.float()),
        lambda: em(ROWS + 5),
        lambda: em(None),
        lambda: em(validation=ROWS[:0]),
        lambda: em(validation="x"),
        lambda: em(epochs=2.5),
        lambda: em(epochs=-1),
        lambda: em(pseudocount=float("nan")),
        lambda: em(pseudocount="x"),
        lambda: em(batch_size=2.5),
        lambda: em(patience=-1),
        lambda: em(generator=0),
        lambda: fit_em("circuit", ROWS),
    ],
    "structures": [
        lambda: hclt("x", **SIZES),
        lambda: hclt(ROWS.float(), **SIZES),
        lambda: hclt(ROWS - 1, **SIZES),
        lambda: hclt(ROWS + 1, **SIZES),
        lambda: hclt(ROWS[:0], **SIZES),
        lambda: hclt(ROWS[0], **SIZES),
        lambda: hclt(ROWS, num_categories=3, num_latents=2.5),
        lambda: hclt(ROWS, num_categories="3", num_latents=2),
        lambda: tree(ROWS.tolist(), num_categories=3),
        lambda: tree(ROWS.numpy() * 0.5, num_categories=3),
        lambda: structures.mixture(-1, **SIZES),
        lambda: structures.mixture("x", **SIZES),
        lambda: structures.factorized(2.5, num_categories=3),
        lambda: structures.hmm(0, **SIZES),
        lambda: structures.latent_tree("x", **SIZES),
        lambda: structures.latent_tree([0.5, -1], **SIZES),
        lambda: structures.latent_tree([5, -1], **SIZES),
        lambda: structures.quad_tree(2.5, 2, **SIZES),
        lambda: structures.quad_tree(-2, -2, **SIZES),
        lambda: structures.poon_domingos(2, 2, step=0, **SIZES),
        lambda: structures.poon_domingos(2, "2", **SIZES),
        lambda: rat(4, depth=1, repetitions=1, generator=0, **SIZES),
        lambda: rat(4, depth=1.5, repetitions=1, **SEEDED, **SIZES),
        lambda: structures.latent_tree([-1], family="gauss", **SIZES),
    ],
    "mask": [
        lambda: mask("left", 2.5, 8),
        lambda: mask("left", -8, 8),
        lambda: mask("left", "8", 8),
        lambda: mask("thick", 32, 32, generator=0),
        lambda: mask(5, 8, 8),
    ],
    "make_guide": [
        lambda: make_guide(5, DIGITS),
        lambda: make_guide("mixture", "digits"),
        lambda: make_guide("mixture", DIGITS, generator=0),
        lambda: make_guide("mixture", DIGITS, fraction=2),
        lambda: make_guide("mixture", DIGITS, fraction="x"),
        lambda: make_guide("mixture", DIGITS, words=3),
        lambda: make_guide("latent", DIGITS),
    ],
    "Denoiser": [
        lambda: Denoiser("net", Schedule.linear()),
        lambda: Denoiser(torch.nn.Identity(), "linear"),
        lambda: Denoiser(torch.nn.Identity(), Schedule.linear(), patch=1.5),
        lambda: Denoiser(torch.nn.Identity(), Schedule.linear(), "noise"),
        lambda: DENOISER("x", 3),
        lambda: DENOISER(IMAGE, 2.5),
        lambda: DENOISER(IMAGE, -1),
        lambda: DENOISER(IMAGE, 1000),
        lambda: DENOISER(IMAGE, torch.tensor([0.5])),
        lambda: DENOISER(IMAGE, "3"),
        lambda: DIGITS.denoiser(torch.zeros(1, 3, 8, 8), 3),
    ],
    "Schedule": [
        lambda: Schedule.linear().respace(2.5),
        lambda: Schedule.linear().respace("x"),
        lambda: Schedule.linear().respace(-1),
        lambda: Schedule("x", "y"),
        lambda: Schedule.linear("x"),
    ],
    "PatchCodebook": [
        lambda: fitted("x"),
        lambda: fitted(torch.full((9, 1, 4, 4), torch.nan)),
        lambda: fitted(patch=2.5),
        lambda: fitted(patch=3),
        lambda: fitted(num_codes=-1),
        lambda: fitted(num_codes=10),
        lambda: fitted(generator=0),
        lambda: CODEBOOK.categories(torch.zeros(1, 3, 4, 4)),
        lambda: CODEBOOK.categories(torch.zeros(1, 1, 8, 8)),
        lambda: PatchCodebook(torch.zeros(4, 3, 4), torch.zeros(4, 3, 4), 2, (1, 4, 4)),
    ],
    "Tokenizer": [
        lambda: Tokenizer(num_codes=-1),
        lambda: Tokenizer(width="x"),
        lambda: TOKENIZER.encode("x"),
        lambda: TOKENIZER.encode(torch.zeros(1, 3, 8, 8)),
        lambda: TOKENIZER.encode(torch.zeros(1, 1, 6, 6)),
        lambda: TOKENIZER.encode(NAN),
        lambda: TOKENIZER.decode("x"),
        lambda: TOKENIZER.decode(torch.tensor([[-1]])),
        lambda: TOKENIZER.decode(torch.tensor([[0.5]])),
        lambda: TOKENIZER.decode(torch.tensor([[0, 0]])),
        lambda: TOKENIZER.log_probabilities(torch.zeros(1, 1, 4, 4), -1),
    ],
}


@pytest.mark.parametrize(("name", "n"), [(name, n) for name, calls in REFUSED.items() for n in range(len(calls))])
def test_refused_in_a_sentence(name, n):
    with pytest.raises(TiramisuError) as refusal:
        REFUSED[name][n]()
    assert len(str(refusal.value).split()) > 3


@pytest.mark.parametrize("kind", [torch.uint8, torch.int32, np.uint8, np.int64], ids=str)
def test_trees_of_any_integers_are_the_same(kind):
    data = ROWS.to(kind) if isinstance(kind, torch.dtype) else ROWS.numpy().astype(kind)
    assert hclt(data, **SIZES) == hclt(ROWS, **SIZES) and tree(data, num_categories=3) == tree(ROWS, num_categories=3)
    assert em(data).train == em(ROWS).train
