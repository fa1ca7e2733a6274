"""Where circuit and denoiser are exact, steered samplers draw from the exact conditional, and plain ones do not.

Draws of the two codes against the enumerated p(z_1, z_2 | known), chi-square at false-alarm rate 1e-4.
"""

import pytest
import torch

from tests.steering.fakes import toy_world
from tests.steering.toy import (
    CODES,
    SHAPE,
    chi_square,
    coupled_patches,
    exact_denoiser,
    joint_conditional,
    left_column,
    nearest_codes,
    threshold,
)
from tiramisu_edu.circuits import structures
from tiramisu_edu.circuits.circuit import Circuit
from tiramisu_edu.diffusion.samplers import get_sampler
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.inpainting import inpaint
from tiramisu_edu.lab.zoo import load
from tiramisu_edu.steering.beyond.difference import DifferenceGuide
from tiramisu_edu.steering.beyond.twisted import twisted

STEPS = 40


@pytest.fixture(scope="module")
def toy():
    circuit, book = coupled_patches()
    return circuit, book, exact_denoiser(circuit, book)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def statistic(toy, images):
    circuit, book, _ = toy
    return chi_square(nearest_codes(book, images), joint_conditional(circuit, book, *left_column()))


def task(toy, count, steps=STEPS):
    denoiser = toy[2]
    image, known = left_column()
    return denoiser, denoiser.schedule.respace(steps), image.expand(count, *SHAPE), known


@pytest.mark.parametrize("sampler", ["ddim", "replacement"])
def test_difference_guide_with_consistent_noise_is_exact(toy, sampler):
    circuit, book, _ = toy
    guide = DifferenceGuide(circuit, book)
    steered = get_sampler(sampler)(*task(toy, 1500), guide=guide, generator=generator())
    plain = get_sampler(sampler)(*task(toy, 1500), generator=generator())
    value, degrees = statistic(toy, steered)
    assert value < threshold(degrees) < statistic(toy, plain)[0]


def test_raw_noise_is_overconfident(toy):
    circuit, book, _ = toy
    raw = DifferenceGuide(circuit, book, consistent_noise=False)
    images = get_sampler("ddim")(*task(toy, 1500), guide=raw, generator=generator())
    value, degrees = statistic(toy, images)
    assert value > 3 * threshold(degrees)
    likeliest = joint_conditional(circuit, book, *left_column()).argmax()
    share = (nearest_codes(book, images) == likeliest).double().mean()
    assert share > 0.6  # of an event of probability 0.52


def test_twisted_filter_is_exact(toy):
    circuit, book, _ = toy
    images = twisted(*task(toy, 1000, 30), circuit=circuit, codebook=book, generator=generator())
    value, degrees = statistic(toy, images)
    assert value < threshold(degrees)
    image, known = left_column()
    assert torch.equal(images[:, :, known[0, 0]], image.expand_as(images)[:, :, known[0, 0]])


def test_twisted_filter_corrects_a_wrong_circuit(toy):
    """A circuit of independent, uniform codes proposes: one particle believes it, many follow the network."""
    wrong = Circuit(structures.factorized(2, num_categories=CODES))
    with torch.no_grad():
        for index in (0, 1):
            wrong.region_table(index).fill_(1 / CODES)
    reached = []
    for particles in (1, 16):
        models = {"circuit": wrong, "codebook": toy[1]}
        images = twisted(*task(toy, 1000, 30), **models, generator=generator(), particles=particles)
        reached.append(statistic(toy, images))
    (one, degrees), (many, _) = reached
    assert many < threshold(degrees) < one


def test_twisted_filter_keeps_images_apart(toy):
    """With a generator for each image, an image's particles do not depend on the batch it is in."""
    circuit, book, denoiser = toy
    image = torch.cat([left_column()[0], -left_column()[0]])
    known = torch.cat([left_column()[1], left_column()[1].flip(-1)])
    schedule, models = denoiser.schedule.respace(12), {"circuit": circuit, "codebook": book}
    models |= {"particles": 5, "resample_below": 1.0}
    together = twisted(denoiser, schedule, image, known, **models, generator=[generator(1), generator(2)])
    alone = [
        twisted(denoiser, schedule, image[[n]], known[[n]], **models, generator=[generator(1 + n)]) for n in range(2)
    ]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    with pytest.raises(TiramisuError, match=r"twisted: particles must be a whole number in 1 \.\.\. 10000, not 0"):
        twisted(denoiser, schedule, image, known, **models | {"particles": 0}, generator=generator())


@pytest.mark.parametrize("guide", [None, lambda step: step.prediction.x_0 / 2])
def test_twisted_filter_proposes_the_known_pixels(toy, guide):
    circuit, book, denoiser = toy
    (image, known), proposed = left_column(), []
    twisted(
        denoiser,
        denoiser.schedule.respace(6),
        image,
        known,
        circuit=circuit,
        codebook=book,
        guide=guide,
        generator=generator(),
        callback=lambda step, x_0, _: proposed.append(x_0[:, :, known[0, 0]]),
    )
    assert all(torch.equal(x_0, image[:, :, known[0, 0]].expand_as(x_0)) for x_0 in proposed[:-1])


def test_inpaint_knows_the_filter(toy):
    world = toy_world()
    image, known = left_column()
    many = image.expand(3, *SHAPE)
    for guide in ("difference", "mixture"):
        found = inpaint(world, many, known, sampler="twisted", guide=guide, num_inference_steps=8)
        assert found.forward == 3 * 8 * 8
        assert torch.equal(found.images[:, :, known[0, 0]], many[:, :, known[0, 0]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "twisted", "eta": 0.0}, "twisted has one kind of noise, called eta = 1, not 0"),
        ({"eta": 2}, r"replacement: eta must lie in \[0, 1\], not 2"),
        ({"num_inference_steps": 0}, "cannot take 0 steps of a schedule of 1000: choose 1 to 1000"),
        ({"num_inference_steps": 2.5}, "cannot take 2.5 steps"),
        ({"generator": "0"}, "generator must be torch.Generator"),
        ({"sampler": "magic"}, "unknown sampler 'magic'"),
    ],
)
def test_inpaint_is_bounded(options, message):
    image, known = left_column()
    with pytest.raises(TiramisuError, match=message):
        inpaint(toy_world(), image, known, **options)


@pytest.mark.parametrize("sampler", ["dps", "copaint-tt", "twisted"])
def test_inpaint_reads_its_models_inside_inference_mode_too(sampler):
    image, known = torch.zeros(2, 1, 8, 8), torch.eye(8, dtype=torch.bool)
    outside = inpaint(load("digits"), image, known, sampler=sampler, num_inference_steps=2).images
    with torch.inference_mode():
        inside = inpaint(load("digits"), image.clone(), known.clone(), sampler=sampler, num_inference_steps=2).images
    assert torch.equal(inside, outside)
