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
from tiramisu_edu.steering.beyond.start import circuit_start
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


def test_circuit_start_is_the_noised_posterior_mean(toy):
    circuit, book, denoiser = toy
    image, known = left_column()
    many = image.expand(4000, *SHAPE)
    schedule = denoiser.schedule.respace(20)
    shorter, x_t = circuit_start(circuit, book, schedule, many, known, begin=0.6, generator=generator())
    assert len(shorter) == 12 and torch.equal(shorter.alpha_bar, schedule.alpha_bar[:12])
    of_codes = joint_conditional(circuit, book, image, known).view(CODES, CODES)
    expected = torch.cat([of_codes.sum(1) @ book.means[0].double(), of_codes.sum(0) @ book.means[1].double()])
    a = float(shorter.alpha_bar[-1])
    # Seven of the eight pixels' means to 4.5 standard errors; known pixels are y itself.
    found = (x_t.double().mean(0)[0] / a**0.5).unflatten(1, (2, 2)).permute(1, 0, 2).flatten(1).flatten()
    expected[[0, 2]] = -0.55
    assert ((found - expected).abs() < 4.5 * ((1 - a) / a / 4000) ** 0.5).all()
    images = get_sampler("ddim")(
        denoiser,
        shorter,
        many,
        known,
        x_T=x_t,
        generator=generator(),
        guide=DifferenceGuide(circuit, book),
    )
    assert set(nearest_codes(book, images).unique().tolist()) <= set(range(2 * CODES))
    with pytest.raises(TiramisuError, match=r"in \(0, 1\], not 0"):
        circuit_start(circuit, book, schedule, many, known, begin=0.0, generator=generator())


def test_inpaint_knows_the_filter_and_the_start(toy):
    world = toy_world()
    image, known = left_column()
    many = image.expand(3, *SHAPE)
    for options in ({"sampler": "twisted"}, {"start": 0.5}, {"sampler": "twisted", "start": 0.5, "guide": "mixture"}):
        found = inpaint(world, many, known, num_inference_steps=8, **options)
        particles, steps = (8 if "sampler" in options else 1), (4 if "start" in options else 8)
        assert found.forward == 3 * particles * steps
        assert torch.equal(found.images[:, :, known[0, 0]], many[:, :, known[0, 0]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "twisted", "eta": 0.0}, "twisted has one kind of noise, called eta = 1, not 0"),
        ({"eta": 2}, r"replacement: eta must lie in \[0, 1\], not 2"),
        ({"num_inference_steps": 0}, "cannot take 0 steps of a schedule of 1000: choose 1 to 1000"),
        ({"num_inference_steps": 2.5}, "cannot take 2.5 steps"),
        ({"generator": "0"}, "generator must be torch.Generator"),
        ({"start": float("nan")}, r"in \[0, 1\], not nan"),
        ({"start": 0}, r"in \(0, 1\], not 0"),
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
