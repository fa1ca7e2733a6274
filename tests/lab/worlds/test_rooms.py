"""The bedrooms: what is drawn where, what matches what, and what each mask leaves to be inferred."""

import pytest
import torch

from tiramisu_edu.lab.worlds.rooms import ROOMS
from tiramisu_edu.masks import PAPER_COLUMNS, mask

NAMES = ROOMS.model.names
FIXED_MASKS = [name for name in PAPER_COLUMNS if name != "wide"]
COUNT = 48


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def changes():
    """For each factor and value the pixels (COUNT, 32, 32) that change when only that value is put in, and where."""
    states = ROOMS.model.sample_independent(COUNT, seeded(0))
    before = ROOMS.render(states, generator=seeded(1))
    found = {}
    for f, name in enumerate(NAMES):
        for value in range(ROOMS.model.cardinalities[f]):
            other = states.clone()
            other[:, f] = value
            after = ROOMS.render(other, generator=seeded(1))
            found[name, value] = ((after - before).abs().amax(1), states[:, f] != value)
    return found


def of_factor(changes, name):
    return torch.stack([pixels for (factor, _), (pixels, _) in changes.items() if factor == name]).amax(0)


def inside(boxes):
    """(32, 32) bool: pixels that some box touches."""
    centres = torch.arange(32) + 0.5
    covered = torch.zeros(32, 32, dtype=torch.bool)
    for box in boxes:
        rows = (centres > box.top - 0.5) & (centres < box.bottom + 0.5)
        covered |= rows[:, None] & (centres > box.left - 0.5) & (centres < box.right + 0.5)
    return covered


def test_every_value_shows(changes):
    """Six pixels change by five standard deviations of the noise, or more, and by far more at the most."""
    for (name, value), (pixels, changed) in changes.items():
        difference = pixels[changed].flatten(1).sort(descending=True).values
        assert (difference[:, 5] > 5 * 2 * 0.012).all(), (name, value)
        assert (difference[:, 0] > 0.17).all(), (name, value)
        assert not pixels[~changed].any(), "the same state and seed give the same picture"


@pytest.mark.parametrize("name", NAMES)
def test_a_factor_shows_in_its_boxes_only(changes, name):
    power = of_factor(changes, name) ** 2
    assert (power * ~inside(ROOMS.boxes[name])).sum() < 0.01 * power.sum()


@pytest.mark.parametrize("name", FIXED_MASKS)
def test_hidden_factors_leave_no_trace_in_the_known_pixels(changes, name):
    known = mask(name, 32, 32)
    _, hidden = ROOMS.seen(known[None])
    for f in hidden[0].nonzero()[:, 0].tolist():
        trace = of_factor(changes, NAMES[f])[:, known[0]]
        assert trace.max() < 0.1, NAMES[f]  # of 2, the range of a pixel


@pytest.mark.parametrize("name", FIXED_MASKS)
def test_seen_factors_show_in_the_known_pixels(changes, name):
    known = mask(name, 32, 32)
    seen, _ = ROOMS.seen(known[None])
    for f in seen[0].nonzero()[:, 0].tolist():
        for value in range(ROOMS.model.cardinalities[f]):
            pixels, changed = changes[NAMES[f], value]
            assert (pixels[changed][:, known[0]].amax(1) > 0.12).all(), (NAMES[f], value)


@pytest.mark.parametrize(
    "name, determined",
    [("left", 4), ("top", 7), ("expand1", 6), ("expand2", 6), ("vstrip", 6), ("hstrip", 3)],
)
def test_what_a_mask_shows_determines_some_of_what_it_hides(name, determined):
    seen, hidden = ROOMS.seen(mask(name, 32, 32)[None])
    states = ROOMS.model.sample(50, seeded(2))
    posteriors = ROOMS.model.conditional(states, seen[0])
    certain = [f for f, p in enumerate(posteriors) if hidden[0, f] and (p.amax(1) > 1 - 1e-9).all()]
    assert len(certain) == determined
    for f in certain:
        assert torch.equal(posteriors[f].argmax(1), states[:, f])


def test_the_rules_in_words():
    states = ROOMS.model.sample(500, seeded(3))
    word = {name: [ROOMS.model.factors[f].values[state] for state in states[:, f]] for f, name in enumerate(NAMES)}
    for name, twin in [
        ("left lamp", "right lamp"),
        ("bed cover", "left curtain"),
        ("left curtain", "right curtain"),
        ("bed cover", "slippers"),
        ("cushion", "rug"),
        ("wall pattern", "cover pattern"),
        ("headboard", "left table"),
        ("left table", "right table"),
        ("left picture", "right picture"),
        ("left picture", "rug pattern"),
    ]:
        assert word[name] == word[twin]
    assert all((sky == "night") == (lamp == "on") for sky, lamp in zip(word["sky"], word["left lamp"]))
    assert all(cushion != cover for cushion, cover in zip(word["cushion"], word["bed cover"]))
    assert not ROOMS.model.violations(states).any()


def test_pictures_are_a_function_of_the_seed_and_in_range():
    pictures, states = ROOMS.images("validation", 200)
    again, same = ROOMS.images("validation", 130)
    assert torch.equal(pictures[:130], again) and torch.equal(states[:130], same)
    assert pictures.dtype == torch.float32 and pictures.min() >= -1 and pictures.max() <= 1


def test_a_larger_picture_shows_the_same_room():
    states = ROOMS.model.sample(8, seeded(4))
    small, large = (ROOMS.render(states, size=size, generator=seeded(5)) for size in (32, 96))
    shrunk = torch.nn.functional.avg_pool2d(large, 3)
    assert (small - shrunk).abs().mean() < 0.05
