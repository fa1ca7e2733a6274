"""The clothes as shipped, and the idx files that they come from."""

import gzip

import pytest
import torch

from studies.shipped_pictures import make_clothes
from tiramisu_edu.errors import FileError, TiramisuError
from tiramisu_edu.lab.recipes.tokenizer import psnr
from tiramisu_edu.lab.worlds.clothes import Clothes
from tiramisu_edu.lab.zoo import load


@pytest.mark.parametrize(("split", "count"), [("train", 5500), ("validation", 500), ("test", 1000)])
def test_what_ships(split, count):
    images, labels = Clothes().images(split)
    assert images.shape == (count, 1, 28, 28) and images.dtype == torch.float32 and labels.dtype == torch.int64
    levels = (images + 1) * 127.5
    assert (images.min(), images.max()) == (-1, 1) and (levels - levels.round()).abs().max() < 1e-4
    assert torch.equal(labels.unique(), torch.arange(10))
    assert torch.equal(Clothes().images(split, 3)[0], images[:3])


def test_splits_of_a_folder_begin_with_what_ships(tmp_path, monkeypatch):
    for part, count in (("train", 6010), ("t10k", 1010)):
        levels = torch.randint(256, (count, 28, 28), generator=torch.Generator().manual_seed(count), dtype=torch.uint8)
        for name, values in (("images-idx3", levels), ("labels-idx1", levels[:, 0, 0] % 10)):
            header = bytes(16 if name == "images-idx3" else 8)
            (tmp_path / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(header + values.numpy().tobytes()))
    whole = Clothes(tmp_path)
    assert [len(whole.images(split)[0]) for split in ("train", "validation", "test")] == [5510, 500, 1010]
    make_clothes(tmp_path / "clothes" / "images.safetensors", tmp_path)
    monkeypatch.setattr("tiramisu_edu.lab.worlds.clothes.verified", lambda path: tmp_path / "clothes" / path.name)
    for split in ("train", "validation", "test"):
        for mine, all_of_them in zip(Clothes().images(split), whole.images(split)):
            assert torch.equal(mine, all_of_them[: len(mine)])


def test_wrong_requests(tmp_path):
    with pytest.raises(FileError, match=r"train-images-idx3-ubyte.gz is missing; Debian's package dataset-fashion"):
        Clothes(tmp_path).images("train")
    with pytest.raises(TiramisuError, match="unknown split 'valid': did you mean 'validation'"):
        Clothes().images("valid")


def test_the_models_fit_each_other():
    world = load("clothes")
    images, labels = world.images("test", 64)
    assert (world.judge.read(images)[:, 0] == labels).double().mean() > 0.8
    assert psnr(world.tokenizer, images) > 21
    assert len(world.codebook.means) == world.circuit.num_variables == 49
