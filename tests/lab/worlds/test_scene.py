"""What the worlds share, on a toy world of two flat halves."""

import pytest
import torch

from tiramisu_edu.errors import EvidenceError, ImageError, TiramisuError
from tiramisu_edu.lab.worlds.factors import FactorModel, equal, factors
from tiramisu_edu.lab.worlds.scene import BLOCK, Box, Scene

SHADES = torch.tensor([-0.8, 0.0, 0.8])


def draw(states, size, generator):
    halves = SHADES[states].repeat_interleave(size // 2, dim=1)  # (N, size): left half, right half
    pictures = halves[:, None, None, :].expand(-1, 3, size, size)
    return pictures + 0.01 * torch.randn(pictures.shape, generator=generator)


def toy(name="toy"):
    shades = ("dark", "grey", "bright")
    model = FactorModel(factors(("left", shades), ("right", shades, ["left"], equal)))
    return Scene(name, model, {"left": (Box(0, 0, 16, 32),), "right": (Box(16, 0, 32, 32),)}, draw)


def test_a_shorter_count_is_a_prefix_across_blocks():
    pictures, states = toy().images("test", BLOCK + 5)
    assert pictures.shape == (BLOCK + 5, 3, 32, 32) and states.shape == (BLOCK + 5, 2)
    for count in (1, 130, BLOCK, BLOCK + 2):
        fewer, fewer_states = toy().images("test", count)
        assert torch.equal(fewer, pictures[:count]) and torch.equal(fewer_states, states[:count])


def test_splits_blocks_and_worlds_share_no_image():
    train, validation = toy().images("train", BLOCK + 2)[0], toy().images("validation", 2)[0]
    other = toy("other").images("train", 2)[0]
    firsts = torch.cat([train[:2], train[BLOCK:], validation, other, toy().images("test", 2)[0]]).flatten(1)
    assert len(firsts.unique(dim=0)) == len(firsts)


def test_default_counts_and_coherence():
    pictures, states = toy().images("validation")
    assert len(pictures) == 2048 and not toy().model.violations(states).any()


def test_independent_samples_break_rules():
    _, states = toy().sample(200, generator=torch.Generator().manual_seed(0), independent=True)
    assert 0.5 < toy().model.violations(states).any(1).double().mean() < 0.8  # 2/3 expected, 5 standard deviations


def test_independent_states_are_what_is_drawn():
    scene = toy()
    right_is_dark = Scene("toy", scene.model, scene.boxes, draw, canonical=lambda s: s * torch.tensor([1, 0]))
    pictures, states = right_is_dark.sample(50, generator=torch.Generator().manual_seed(0), independent=True)
    assert not states[:, 1].any() and states[:, 0].any()
    assert (pictures[:, :, :, 16:] < -0.7).all()


@pytest.mark.parametrize("size", [32, 64])
def test_seen_is_the_known_share_of_the_boxes(size):
    known = torch.zeros(4, 1, size, size, dtype=torch.bool)
    known[1, :, :, : size // 4] = True  # half of the left box
    known[2, :, :, : size // 4 - 1] = True  # less than that
    known[3, :, :, size // 2 :] = True  # all of the right box, nothing of the left
    seen, hidden = toy().seen(known)
    assert seen.tolist() == [[False, False], [True, False], [False, False], [False, True]]
    assert hidden.tolist() == [[True, True], [False, True], [False, True], [True, False]]


def test_one_box_is_enough_to_be_seen_and_too_much_to_be_hidden():
    scene = toy()
    tile = Scene("toy", scene.model, {**scene.boxes, "left": (Box(0, 0, 16, 32), Box(4, 4, 6, 6))}, draw)
    known = torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    known[0, :, 4:6, 4:5] = True  # half of the tile, next to nothing of the large box
    known[1, :, 4:5, 4:5] = True  # a quarter of the tile
    seen, hidden = tile.seen(known)
    assert seen[:, 0].tolist() == [True, False] and hidden[:, 0].tolist() == [False, False]
    assert scene.seen(known)[1][:, 0].tolist() == [True, True]


def test_visibility_table():
    table = toy().visibility(["left", "top"])
    assert table == {"left": {"left": "seen", "right": "hidden"}, "top": {"left": "seen", "right": "seen"}}


def test_refusals():
    scene, generator = toy(), torch.Generator().manual_seed(0)
    with pytest.raises(TiramisuError, match="unknown split 'dev'"):
        scene.images("dev")
    with pytest.raises(TiramisuError, match="at least 1"):
        scene.images("test", 0)
    with pytest.raises(ImageError, match="multiple of 32"):
        scene.sample(2, generator=generator, size=40)
    with pytest.raises(EvidenceError, match="'left' is 3"):
        scene.render(torch.tensor([[3, 0]]), generator=generator)
    with pytest.raises(ImageError, match="B, 1, H, W"):
        scene.seen(torch.ones(32, 32, dtype=torch.bool))
