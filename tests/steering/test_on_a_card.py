"""Every sampler, guide and kind of generator with models on a card, or on `FakeCard` where there is none."""

import pytest
import torch

from tests.fake_card import CardGenerator, FakeCard
from tiramisu_edu.circuits import engines
from tiramisu_edu.inpainting import inpaint
from tiramisu_edu.lab.zoo import load
from tiramisu_edu.names import GUIDES, SAMPLERS, WORLDS

HAS_CARD = torch.cuda.is_available()
LATENT = [guide for guide in GUIDES if guide.startswith("latent")]
CASES = [
    *(("digits", sampler, "difference") for sampler in (*SAMPLERS, "twisted")),
    *(("digits", "replacement", guide) for guide in GUIDES if guide not in LATENT),
    *(("faces", "replacement", guide) for guide in LATENT),
]
if HAS_CARD:
    CASES = [
        (world, sampler, guide)
        for world in WORLDS
        for sampler in (*SAMPLERS, "twisted")
        for guide in GUIDES
        if guide not in LATENT or load(world).tokenizer is not None
    ]


@pytest.fixture(scope="module")
def card():
    """Where tensors can be on the card; within a `FakeCard` circuits take the engine of tensors."""
    if HAS_CARD:
        yield
        return
    with pytest.MonkeyPatch.context() as patch, FakeCard() as fake:
        patch.setattr(engines, "_obstacle_to_triton", lambda *_: "there is no card")
        patch.setattr(torch.cuda, "synchronize", lambda *_: None)
        yield fake


@pytest.fixture(scope="module")
def worlds(card):
    return {name: load(name).to("cuda") for name in dict.fromkeys(world for world, *_ in CASES)}


@pytest.mark.parametrize(("world", "sampler", "guide"), CASES)
def test_pictures_on_a_card_with_either_generator(card, worlds, world, sampler, guide):
    image = worlds[world].images("test", 1)[0].to("cuda")
    known = torch.zeros_like(image[:, :1], dtype=torch.bool)
    known[..., : image.shape[-1] // 2] = True
    for generator in (torch.Generator(), torch.Generator("cuda") if HAS_CARD else CardGenerator()):
        options = {"sampler": sampler, "guide": guide, "num_inference_steps": 2, "generator": generator.manual_seed(0)}
        filled = inpaint(worlds[world], image, known, **options).images
        assert filled.device.type == "cuda" and torch.equal(filled.cpu()[known.cpu()], image.cpu()[known.cpu()])


@pytest.mark.skipif(HAS_CARD, reason="of the stand-in")
def test_the_stand_in_refuses_what_a_card_refuses(card):
    here, there = torch.ones(3), torch.ones(3).to("cuda")
    assert (here.device.type, there.device.type, (2 * there + torch.tensor(1.0)).device.type) == ("cpu", "cuda", "cuda")
    assert torch.nn.Linear(3, 3).to("cuda")(there).is_cuda and not there.cpu().is_cuda
    for fault in (
        lambda: here + there,
        lambda: torch.cat([here, there]),
        lambda: here[there.long()],
        lambda: here + there.sum(),
        lambda: there.numpy(),
        lambda: torch.randn(3, device=there.device, generator=torch.Generator()),
        lambda: torch.randn(3, generator=CardGenerator()),
    ):
        with pytest.raises((RuntimeError, TypeError)):
            fault()
