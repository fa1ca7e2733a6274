"""The digits as shipped: scikit-learn's values, the fixed split, and their images."""

import pytest
import torch
from sklearn.datasets import load_digits

from studies.shipped_pictures import make_digits
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.files import load_safetensors
from tiramisu_edu.lab.datafiles import data_path
from tiramisu_edu.lab.worlds import digits


@pytest.mark.parametrize(("split", "count"), [("train", 1297), ("validation", 200), ("test", 300)])
def test_splits_are_stratified(split, count):
    images, labels = digits.images(split)
    assert images.shape == (count, 1, 8, 8)
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    everything = torch.cat([digits.images(name)[1] for name in digits.SPLITS]).bincount(minlength=10)
    share = everything.double() * count / 1797
    assert ((labels.bincount(minlength=10) - share).abs() <= 1.0).all()


def test_images_and_categories_are_the_same_numbers():
    levels = digits.categories("validation")
    images, _ = digits.images("validation")
    assert levels.shape == (200, 64)
    assert levels.dtype == torch.int64
    assert (levels.min(), levels.max()) == (0, 16)
    assert torch.equal(images.flatten(1), levels.float() / 8 - 1)
    assert torch.equal(digits.to_images(levels), images)


def test_no_image_is_in_two_splits():
    rows = torch.cat([digits.categories(split) for split in digits.SPLITS])
    assert len(rows.unique(dim=0)) == 1797


def test_file_is_what_scikit_learn_ships(tmp_path):
    make_digits(tmp_path / "images.safetensors")
    built, _ = load_safetensors(tmp_path / "images.safetensors", kind="images", version=1)
    shipped, credit = load_safetensors(data_path(digits.FILE), kind="images", version=1)
    for name, values in shipped.items():
        assert torch.equal(values, built[name])
    assert (shipped["images"].numpy() == load_digits().images).all()
    assert credit["authors"] == "E. Alpaydin and C. Kaynak"
    assert "CC BY 4.0" in credit["licence"]


def test_unknown_split_is_refused():
    with pytest.raises(TiramisuError, match="unknown split 'valid': did you mean 'validation'"):
        digits.images("valid")
