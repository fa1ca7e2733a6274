"""Shapes against geometry: signs, areas, edges, and windows and movements that change nothing but the coordinates."""

import math

import pytest
import torch

from tiramisu_edu.errors import ImageError
from tiramisu_edu.lab.worlds.drawing import Canvas, box, capsule, circle, ellipse, outline, polygon, stripes
from tiramisu_edu.lab.worlds.faces import FACES

BLACK, WHITE = torch.zeros(1, 3), torch.ones(3)


def canvas(size=256):
    return Canvas.blank(BLACK, size)


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        (lambda c: circle(c, 15.0, 17.0, 6.0), math.pi * 36),
        (lambda c: ellipse(c, 15.0, 17.0, 8.0, 5.0), math.pi * 40),
        (lambda c: box(c, 4.0, 6.0, 20.0, 15.0), 16 * 9),
        (lambda c: box(c, 4.0, 6.0, 20.0, 15.0, radius=2.0), 16 * 9 - (4 - math.pi) * 4),
        (lambda c: capsule(c, 8.0, 8.0, 20.0, 24.0, 4.0), 20 * 4 + math.pi * 4),
        (lambda c: polygon(c, [(16.0, 4.0), (28.0, 28.0), (4.0, 28.0)]), 12 * 24),
        (lambda c: outline(circle(c, 16.0, 16.0, 9.0), 2.0), math.pi * (100 - 64)),
        (lambda c: torch.maximum(circle(c, 16.0, 16.0, 9.0), c.y - 16.0), math.pi * 81 / 2),
        (lambda c: torch.maximum(circle(c, 16.0, 16.0, 9.0), -circle(c, 16.0, 16.0, 4.0)), math.pi * (81 - 16)),
        (lambda c: torch.maximum(box(c, 0.0, 0.0, 32.0, 32.0), stripes(c.y, 4.0, 1.0, 2.0)), 32 * 32 / 4),
    ],
)
def test_the_area_painted_is_the_shape_s_area(shape, area):
    page = canvas()
    page.paint(shape(page), WHITE)
    assert float(page.pixels[0, 0].sum()) / page.resolution**2 == pytest.approx(area, rel=4e-3)


@pytest.mark.parametrize(
    ("shape", "point", "distance"),
    [
        (lambda c: circle(c, 10.0, 10.0, 3.0), (16.0, 18.0), 7.0),
        (lambda c: circle(c, 10.0, 10.0, 3.0), (10.0, 10.0), -3.0),
        (lambda c: box(c, 4.0, 4.0, 12.0, 12.0), (15.0, 16.0), 5.0),
        (lambda c: box(c, 4.0, 4.0, 12.0, 12.0, radius=2.0), (8.0, 5.0), -1.0),
        (lambda c: capsule(c, 4.0, 20.0, 20.0, 20.0, 2.0), (24.0, 23.0), 4.0),
        (lambda c: capsule(c, 4.0, 20.0, 20.0, 20.0, 2.0), (12.0, 20.0), -1.0),
        (lambda c: polygon(c, [(4.0, 4.0), (20.0, 4.0), (20.0, 12.0), (4.0, 12.0)]), (12.0, 7.0), -3.0),
    ],
)
def test_distances_are_negative_inside_and_euclidean(shape, point, distance):
    page = canvas(32 * 16)
    row, column = (int(v * page.resolution) for v in reversed(point))
    assert float(shape(page)[0, row, column]) == pytest.approx(distance, abs=0.1)


def test_each_picture_has_its_own_numbers():
    page = Canvas.blank(torch.zeros(2, 3), 32)
    page.paint(circle(page, torch.tensor([8.0, 24.0]), 16.0, 3.0), WHITE, torch.tensor([1.0, 0.5]))
    assert page.pixels[0, 0, 32, 16] == 1.0 and page.pixels[0, 0, 32, 48] == 0.0
    assert page.pixels[1, 0, 32, 16] == 0.0 and page.pixels[1, 0, 32, 48] == 0.5


def test_a_window_paints_the_same_memory_and_nothing_beyond_its_bounds():
    whole, part = canvas(), canvas()
    whole.paint(circle(whole, 20.0, 12.0, 4.0), WHITE)
    window = part.moved(1.0).window(12, 4, 27, 20)
    window.paint(circle(window, 19.0, 12.0, 4.0), WHITE)
    torch.testing.assert_close(part.pixels, whole.pixels, atol=2e-5, rtol=0)
    window.paint(window.x - 100, WHITE)
    assert float(part.pixels.sum()) / 3 / part.resolution**2 == pytest.approx(15 * 16)


def test_moved_shapes_appear_at_about_plus_shift_plus_stretch():
    moved, still = canvas(), canvas()
    frame = moved.moved(torch.tensor([2.0]), -1.0, 1.5, torch.tensor([1.5]), about=(16, 18))
    frame.paint(circle(frame, 12.0, 20.0, 2.0), WHITE)
    still.paint(circle(still, 16 + 2 + 1.5 * (12 - 16), 18 - 1 + 1.5 * (20 - 18), 3.0), WHITE)
    assert (moved.pixels - still.pixels).abs().max() < 0.3  # the edge is softer by the stretch
    assert (moved.pixels - still.pixels).abs().mean() < 1e-3


@pytest.mark.parametrize("size", [32, 64, 96])
def test_the_picture_is_the_same_at_every_size(size):
    page = Canvas.blank(torch.full((1, 3), 0.25), size)
    page.paint(ellipse(page, 16.0, 16.0, 10.0, 8.0), torch.tensor([0.8, 0.5, 0.2]))
    images = page.finish(brightness=1.0, light=0.0, noise=0.0, generator=torch.Generator())
    assert images.shape == (1, 3, size, size) and images.dtype == torch.float32
    share = math.pi * 80 / 32**2
    expected = 2 * (0.25 + share * (torch.tensor([0.8, 0.5, 0.2]) - 0.25)) - 1
    torch.testing.assert_close(images.mean((0, 2, 3)), expected, atol=3e-3, rtol=0)


def test_finish_lights_from_above_and_adds_seeded_noise():
    page = Canvas.blank(torch.full((2, 3), 0.5), 32)

    def finish(seed, noise):
        generator = torch.Generator().manual_seed(seed)
        return page.finish(brightness=torch.tensor([1.0, 1.1]), light=0.06, noise=noise, generator=generator)

    calm = (finish(0, 0.0) + 1) / 2
    torch.testing.assert_close(calm[:, 0, 0, 0], 0.5 * 1.06 * torch.tensor([1.0, 1.1]))
    torch.testing.assert_close(calm[:, 0, -1, 0], 0.5 * 0.94 * torch.tensor([1.0, 1.1]))
    assert torch.equal(finish(1, 0.012), finish(1, 0.012))
    noise = (finish(1, 0.012) - finish(0, 0.0)) / 2
    assert float(noise.std()) == pytest.approx(0.012, rel=0.05)


@pytest.mark.parametrize("size", [0, 16, 33, -32])
def test_a_size_that_is_no_multiple_of_32_is_refused(size):
    with pytest.raises(ImageError, match="multiple of 32"):
        FACES.render(torch.zeros(1, len(FACES.model), dtype=torch.long), size=size, generator=torch.Generator())
