"""Every sampler, every guide and both kinds of generator with all models on a card; skipped where there is none."""

import pytest
import torch

from tiramisu_edu.inpainting import inpaint
from tiramisu_edu.lab.zoo import load
from tiramisu_edu.names import GUIDES, SAMPLERS, WORLDS

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no card")
METHODS = dict.fromkeys(
    [*((name, "difference") for name in (*SAMPLERS, "twisted")), *(("replacement", g) for g in GUIDES)]
)


@pytest.mark.parametrize(("sampler", "guide"), METHODS)
@pytest.mark.parametrize("name", WORLDS)
def test_pictures_on_a_card_with_either_generator(name, sampler, guide):
    world = load(name).to("cuda")
    if guide.startswith("latent") and world.tokenizer is None:
        pytest.skip("a world without a tokenizer")
    image = world.images("test", 1)[0].to("cuda")
    known = torch.zeros_like(image[:, :1], dtype=torch.bool)
    known[..., : image.shape[-1] // 2] = True
    for generator in (torch.Generator(), torch.Generator("cuda")):
        options = {"sampler": sampler, "guide": guide, "num_inference_steps": 2, "generator": generator.manual_seed(0)}
        filled = inpaint(world, image, known, **options).images
        assert filled.is_cuda and torch.equal(filled.where(known, 0.0), image.where(known, 0.0))
