"""Masks: the published layouts at their own size, every size by fractions, and picture files with faults."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tiramisu_edu.errors import ImageError, TiramisuError
from tiramisu_edu.lab.photo_files import load_mask
from tiramisu_edu.masks import MASKS, PAPER_COLUMNS, mask, mask_batch

RANDOM = {"thin", "thick", "wide"}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def boxes(size: int, *rows_and_cols: tuple[slice, slice]) -> torch.Tensor:
    known = torch.zeros(1, size, size, dtype=torch.bool)
    for rows, cols in rows_and_cols:
        known[0, rows, cols] = True
    return known


PUBLISHED = {  # name: (known boxes at 256 x 256, known pixels)
    "left": ([(slice(0, 256), slice(0, 128))], 32768),
    "top": ([(slice(0, 128), slice(0, 256))], 32768),
    "expand": ([(slice(96, 160), slice(96, 160))], 4096),
    "small_eye": ([(slice(64, 128), slice(64, 128))], 4096),
    "single_vert_strip": ([(slice(72, 164), slice(120, 136))], 1472),
    "single_horiz_strip": ([(slice(120, 136), slice(72, 164))], 1472),
    "vertical_strips": ([(slice(72, 164), slice(c, c + 16)) for c in (56, 120, 184)], 4416),
    "horizontal_strips": ([(slice(r, r + 16), slice(72, 164)) for r in (56, 120, 184)], 4416),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_fixed_layouts_are_the_published_ones_at_256(name):
    layout, known_pixels = PUBLISHED[name]
    known = mask(name, 256, 256)
    assert torch.equal(known, boxes(256, *layout))
    assert known.sum() == known_pixels


@pytest.mark.parametrize(
    ("name", "size", "layout"),
    [
        ("expand", 28, [(slice(11, 18), slice(11, 18))]),  # 10.5 and 17.5 are rounded up
        ("small_eye", 28, [(slice(7, 14), slice(7, 14))]),
        ("single_vert_strip", 28, [(slice(8, 18), slice(13, 15))]),
        ("expand", 8, [(slice(3, 5), slice(3, 5))]),
        (
            "single_vert_strip",
            8,
            [(slice(2, 5), slice(4, 5))],
        ),  # [3.75, 4.25) is empty once rounded: one pixel
        ("horizontal_strips", 8, [(slice(r, r + 1), slice(2, 5)) for r in (2, 4, 6)]),
    ],
)
def test_other_sizes_round_half_up(name, size, layout):
    assert torch.equal(mask(name, size, size), boxes(size, *layout))


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 13), (32, 32), (4, 40)])
def test_every_mask_leaves_work_and_evidence(name, height, width):
    known = mask(name, height, width, generator=seeded())
    assert known.shape == (1, height, width)
    assert known.dtype == torch.bool
    assert known.any()
    assert not known.all()


def test_the_paper_has_seven_columns_and_they_are_the_layouts_they_name():
    assert len(PAPER_COLUMNS) == 7
    for column, layout in PAPER_COLUMNS.items():
        expected = mask(layout, 16, 16, generator=seeded())
        assert torch.equal(mask(column, 16, 16, generator=seeded()), expected)


@pytest.mark.parametrize("name", sorted(RANDOM))
def test_random_masks_follow_the_generator_and_hide_at_most_half(name):
    batch = mask_batch(name, 20, 16, 16, generator=seeded(3))
    assert torch.equal(batch, mask_batch(name, 20, 16, 16, generator=seeded(3)))
    assert not torch.equal(batch, mask_batch(name, 20, 16, 16, generator=seeded(4)))
    assert len(batch.flatten(1).unique(dim=0)) > 10  # an irregular mask per image
    hidden = (~batch).flatten(1).double().mean(1)
    assert ((hidden >= 0.05) & (hidden <= 0.5)).all()


def test_masks_do_not_change_with_the_default_dtype():
    expected = mask("wide", 16, 16, generator=seeded())
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(mask("wide", 16, 16, generator=seeded()), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_wide_strokes_are_thicker_than_thin_ones():
    """Erosion by one pixel leaves more of a thick hidden area than of a thin one of the same size."""

    def surviving(name):
        hidden = (~mask_batch(name, 20, 64, 64, generator=seeded())).float()
        inner = 1 - torch.nn.functional.max_pool2d(1 - hidden, 5, stride=1, padding=2)
        return (inner.sum() / hidden.sum()).item()

    assert surviving("wide") > 0.6
    assert surviving("thin") < 0.2


def test_random_mask_without_generator_and_unknown_name_are_refused():
    with pytest.raises(TiramisuError, match="pass generator="):
        mask("wide", 8, 8)
    with pytest.raises(TiramisuError, match=r"unknown mask 'middle': .*hoose one of left, top, expand"):
        mask("middle", 8, 8)
    with pytest.raises(TiramisuError, match=r"unknown mask \['left'\]"):
        mask(["left"], 8, 8)


@pytest.mark.parametrize(("name", "height", "width"), [("left", 8, 1), ("expand", 1, 1)])
def test_sizes_too_small_for_a_layout_are_refused(name, height, width):
    with pytest.raises(ImageError, match="nothing to fill in"):
        mask(name, height, width)


def save(path: Path, values, mode: str | None = None) -> Path:
    Image.fromarray(np.asarray(values, dtype=np.uint8)).convert(mode).save(path)
    return path


HALF = np.repeat([[0] * 4 + [255] * 4], 8, axis=0)  # white, to be filled in, on the right


@pytest.mark.parametrize("mode", ["L", "1", "RGB", "RGBA", "P"])
def test_white_is_filled_in(tmp_path, mode):
    known = load_mask(save(tmp_path / "mask.png", HALF, mode), 8, 8)
    assert torch.equal(known, mask("left", 8, 8))


def test_grey_is_split_at_one_half(tmp_path):
    known = load_mask(save(tmp_path / "mask.png", [[127, 128]]), 1, 2)
    assert known.tolist() == [[[True, False]]]


def test_faulty_mask_files_are_explained(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("not a picture")
    see_through = np.dstack([HALF, HALF, HALF, HALF])
    faults = {
        r"the mask is 8 x 8 pixels .* and the image 12 x 10; .*NEAREST": (
            save(tmp_path / "a.png", HALF),
            10,
            12,
        ),
        "black everywhere": (save(tmp_path / "b.png", np.zeros((8, 8))), 8, 8),
        "white everywhere": (save(tmp_path / "c.png", np.full((8, 8), 255)), 8, 8),
        "no such file": (tmp_path / "missing.png", 8, 8),
        "folder": (tmp_path, 8, 8),
        "not a picture": (text, 8, 8),
        "colours in its 3 channels": (save(tmp_path / "d.png", np.dstack([HALF, HALF * 0, HALF])), 8, 8),
        "alpha": (save(tmp_path / "e.png", see_through), 8, 8),
    }
    for message, (path, height, width) in faults.items():
        with pytest.raises(ImageError, match=message):
            load_mask(path, height, width)


def test_truncated_mask_file_is_explained(tmp_path):
    noise = torch.randint(256, (64, 64), generator=seeded()).numpy()
    path = save(tmp_path / "mask.png", noise)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ImageError, match="not a picture that can be read"):
        load_mask(path, 64, 64)
