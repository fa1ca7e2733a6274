"""Faces: every part shows where it says, every rule holds in coherent faces, and the words are what is drawn."""

import pytest
import torch

from tiramisu_edu.lab.worlds import faces
from tiramisu_edu.lab.worlds.drawing import Canvas
from tiramisu_edu.lab.worlds.faces import FACES, draw
from tiramisu_edu.lab.worlds.faces_factors import BOXES, MODEL, canonical

# Of all that changes with a factor, the least share that must lie in its boxes. Skin and background show nearly
# everywhere, also where no box could promise them.
SHARE = {"skin": 0.7, "background": 0.7}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def independent(count, seed):
    return canonical(MODEL.sample_independent(count, seeded(seed)))


def in_boxes(name):
    inside = torch.zeros(32, 32, dtype=torch.bool)
    for left, top, right, bottom in BOXES[name]:
        inside[int(top) : int(bottom + 0.5), int(left) : int(right + 0.5)] = True
    return inside


def pairs_that_differ(name, count=160):
    """(states, states) that differ in one factor, and in what it carries where it appears or disappears."""
    f = MODEL.index(name)
    first = independent(count, 0)
    second = first.clone()
    second[:, f] += torch.randint(1, MODEL.cardinalities[f], (count,), generator=seeded(1))
    second[:, f] %= MODEL.cardinalities[f]
    second = canonical(second)
    drawable = first[:, f] != second[:, f]
    return first[drawable], second[drawable]


@pytest.mark.parametrize("name", MODEL.names)
def test_a_factor_shows_in_its_boxes_and_hardly_elsewhere(name):
    first, second = pairs_that_differ(name)
    change = (draw(first, 32, seeded(2)) - draw(second, 32, seeded(2))).abs().mean(1)  # (N, 32, 32)
    inside = in_boxes(name)
    shown = torch.cat([first, second])[:, MODEL.index(name)]
    assert len(shown.unique()) == MODEL.cardinalities[MODEL.index(name)]
    assert change[:, inside].amax(1).min() > 0.1, "some value cannot be told from another"
    assert change[:, inside].sum() / change.sum() > SHARE.get(name, 0.9)


def test_coherent_faces_break_no_rule_and_are_drawn_as_they_are_called():
    states = MODEL.sample(2_000, seeded(0))
    assert not MODEL.violations(states).any()
    assert torch.equal(canonical(states), states)


@pytest.mark.parametrize(
    ("name", "because"),
    [
        *[("hat_colour", "shirt_colour"), ("hair_colour", "brow_colour"), ("beard", "brow_colour"), ("beard", "hair")],
        *[("brow_shape", "mouth"), ("right_eye", "left_eye"), ("right_glasses", "left_glasses")],
        ("right_earring", "left_earring"),
    ],
)
def test_each_rule_is_broken_by_some_picture_that_can_be_drawn(name, because):
    states = independent(2_000, 0)
    broken = states[MODEL.violations(states)[:, MODEL.index(name)]]
    repaired = broken.clone()
    repaired[:, MODEL.index(because)] = torch.randint(
        MODEL.cardinalities[MODEL.index(because)], (len(broken),), generator=seeded(1)
    )
    assert len(broken) > 100
    assert not MODEL.violations(repaired)[:, MODEL.index(name)].all()  # the rule speaks about `because`


def test_hats_and_beards_match_in_words():
    words = [f.values for f in MODEL.factors]
    for state in MODEL.sample(500, seeded(0)).tolist():
        face = {name: words[f][state[f]] for f, name in enumerate(MODEL.names)}
        assert face["hat_colour"] == ("none" if face["hat"] == "none" else face["shirt_colour"])
        assert face["hair_colour"] == ("none" if face["hair"] == "none" else face["brow_colour"])
        assert face["beard"] in ("none", face["brow_colour"])
        assert face["beard"] == "none" or face["hair"] not in ("long", "bob")
        assert face["brow_shape"] == {"smile": "level", "frown": "slanted", "open": "raised"}[face["mouth"]]
        for part in ("eye", "glasses", "earring"):
            assert face[f"left_{part}"] == face[f"right_{part}"]


def test_canonical_joins_a_hat_and_its_colour_and_changes_nothing_else():
    states = MODEL.sample_independent(500, seeded(0))
    fixed = canonical(states)
    for carrier, colour in (("hat", "hat_colour"), ("hair", "hair_colour")):
        columns = [MODEL.index(carrier), MODEL.index(colour)]
        both = (states[:, columns] > 0).all(1)
        assert torch.equal(fixed[both][:, columns], states[both][:, columns])
        assert (fixed[~both][:, columns] == 0).all() and MODEL.factors[columns[0]].values[0] == "none"
        fixed[:, columns] = states[:, columns]
    assert torch.equal(fixed, states)


def test_equal_seeds_draw_equal_pictures_and_others_do_not():
    states = MODEL.sample(4, seeded(0))
    assert torch.equal(draw(states, 32, seeded(1)), draw(states, 32, seeded(1)))
    assert not torch.equal(draw(states, 32, seeded(1)), draw(states, 32, seeded(2)))


@pytest.mark.parametrize("size", [32, 64])
def test_sizes(size):
    images, states = FACES.sample(3, generator=seeded(0), size=size)
    assert images.shape == (3, 3, size, size) and images.dtype == torch.float32 and states.shape == (3, len(MODEL))
    assert images.min() >= -1 and images.max() <= 1


def test_a_large_picture_is_the_small_one_with_more_pixels(monkeypatch):
    monkeypatch.setattr(faces, "PIXEL_NOISE", 0.0)
    states = MODEL.sample(16, seeded(0))
    large = torch.nn.functional.avg_pool2d(draw(states, 64, seeded(1)), 2)
    assert (large - draw(states, 32, seeded(1))).abs().mean() < 0.02


def test_windows_cut_nothing_off(monkeypatch):
    states = independent(32, 0)
    windowed = draw(states, 32, seeded(1))
    monkeypatch.setattr(Canvas, "window", lambda self, *bounds: self)
    torch.testing.assert_close(draw(states, 32, seeded(1)), windowed, atol=1e-3, rtol=0)
