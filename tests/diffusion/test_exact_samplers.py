"""Where everything is exact, so is the draw: listed pictures, chi-square at a false-alarm rate of 1e-4 a test.

The same test rejects what is not exact, which is its power check.
"""

import pytest
import torch

from tests.diffusion.listed import (
    CONDITIONAL,
    KNOWN,
    PICTURES,
    THRESHOLD,
    ExactDifference,
    chi_square,
    exact_denoiser,
    shares,
)
from tiramisu_edu.diffusion.samplers import SAMPLERS


def draw(name, guide=None, steps=40, number=1000, **options):
    denoiser, image = exact_denoiser(), PICTURES[:1].expand(number, 1, 2, 2)
    schedule = denoiser.schedule.respace(steps)
    generator = torch.Generator().manual_seed(0)
    return SAMPLERS[name](denoiser, schedule, image, KNOWN, guide=guide, generator=generator, **options)


@pytest.mark.parametrize(("name", "eta"), [("ddim", 0.0), ("ddim", 1.0), ("ddpm", 1.0), ("replacement", 0.0)])
def test_an_exact_guide_with_consistent_noise_draws_from_the_conditional(name, eta):
    assert chi_square(draw(name, ExactDifference(True), steps=60, eta=eta)) < THRESHOLD


@pytest.mark.parametrize("name", sorted(SAMPLERS.keys() - {"ddim", "ddpm", "repaint", "resampling", "tds", "ding"}))
def test_samplers_without_a_guide_do_not(name):
    """The hidden pixels are decided before the faint known one is seen: pictures that disagree with it come out."""
    assert chi_square(draw(name, number=500)) > THRESHOLD


def test_weighing_by_the_network_draws_from_the_conditional():
    """TDS without a guide, by its default number of particles."""
    assert chi_square(draw("tds")) < THRESHOLD


def test_the_networks_noise_on_known_pixels_is_near_the_conditional():
    """DiNG: every picture agrees with the known pixel, and only many draws show that shares are a little off."""
    images = draw("ding", number=2000)
    assert chi_square(images) > THRESHOLD and (shares(images)[4:] == 0).all()


def test_the_networks_own_noise_makes_draws_overconfident():
    """All draws agree with the known pixel, and too many are the likeliest picture, of probability 0.54."""
    images = draw("ddim", ExactDifference(False), steps=60)
    assert chi_square(images) > THRESHOLD
    assert shares(images)[1] > CONDITIONAL[1] + 0.1


def test_resampling_becomes_exact_as_particles_grow():
    """One particle is replacement with ancestral steps."""
    law = torch.cat([CONDITIONAL, torch.zeros(2)])
    one, few, many = ((shares(draw("resampling", number=700, particles=P)) - law).abs().sum() / 2 for P in (1, 4, 32))
    assert one > 0.3 and few < one / 3 and many < 0.07


def test_particles_correct_a_guide():
    """A guide only proposes: weights leave the law of an exact one alone, and repair that of one that pulls."""
    exact = ExactDifference(True)

    def pulling(step):
        x_0 = exact(step)
        return x_0 + 0.4 * (PICTURES[0] - x_0) if step.index >= 20 else x_0

    assert chi_square(draw("resampling", exact, particles=2)) < THRESHOLD
    one, many = (chi_square(draw("resampling", pulling, number=500, particles=P)) for P in (1, 16))
    assert many < THRESHOLD and one > 2 * THRESHOLD
