"""Distances between pictures: parity with the lpips package and with closed forms; each metric says what it is."""

import hashlib

import lpips
import pytest
import scipy.linalg
import torch

from tiramisu_edu.errors import FileError, ImageError
from tiramisu_edu.lab.evaluation.perceptual import (
    frechet_distance,
    layer_distance,
    perceptual_metric,
)
from tiramisu_edu.lab.worlds.judge import Judge

STAND_IN = "LPIPS formula, judge's layers"


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(seed: int, shape=(3, 3, 32, 32)) -> torch.Tensor:
    return torch.rand(shape, generator=seeded(seed)) * 2 - 1


@pytest.fixture(scope="module")
def judge():
    torch.manual_seed(0)
    return Judge([2, 3], size=32, channels=3, patch=2, widths=(8, 16), num_features=12).eval()


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory):
    """A folder with AlexNet's features in torchvision's format under a name with its digest: random, and no network."""
    shapes = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
    state = {}
    for number, shape in shapes.items():
        fan_in = shape[1] * shape[2] * shape[3]
        state[f"features.{number}.weight"] = torch.randn(shape, generator=seeded(number)) / fan_in**0.5
        state[f"features.{number}.bias"] = torch.full((shape[0],), 0.1)
    folder = tmp_path_factory.mktemp("checkpoints")
    torch.save(state, folder / "unnamed.pth")
    digest = hashlib.sha256((folder / "unnamed.pth").read_bytes()).hexdigest()
    (folder / "unnamed.pth").rename(folder / f"alexnet-owt-{digest[:8]}.pth")
    return folder, state


def alexnet_layers(state, images):
    """The five layers that LPIPS compares, from the weights by hand; AlexNet as in Krizhevsky's second paper."""
    shift, scale = (torch.tensor(v)[:, None, None] for v in ([-0.030, -0.088, -0.188], [0.458, 0.448, 0.450]))
    x, layers = (images - shift) / scale, []
    for number, stride, padding, pool in [(0, 4, 2, 0), (3, 1, 2, 1), (6, 1, 1, 1), (8, 1, 1, 0), (10, 1, 1, 0)]:
        x = torch.nn.functional.max_pool2d(x, 3, 2) if pool else x
        weight, bias = state[f"features.{number}.weight"], state[f"features.{number}.bias"]
        x = torch.nn.functional.conv2d(x, weight, bias, stride, padding).relu()
        layers.append(x)
    return layers


def test_official_weights_on_disk_give_lpips_with_its_linear_weights(alexnet, judge):
    folder, state = alexnet
    metric = perceptual_metric(judge, folder)
    assert metric.name == "LPIPS (AlexNet)"
    images, truth = pictures(0, (2, 3, 64, 64)), pictures(1, (2, 3, 64, 64))
    linear = torch.load(f"{lpips.__path__[0]}/weights/v0.1/alex.pth", map_location="cpu")
    expected = 0
    for number, (y, other) in enumerate(zip(alexnet_layers(state, images), alexnet_layers(state, truth))):
        gap = (y / y.norm(dim=1, keepdim=True) - other / other.norm(dim=1, keepdim=True)).square()
        expected += (gap * linear[f"lin{number}.model.1.weight"]).sum(1).mean((1, 2))
    torch.testing.assert_close(metric.distance(images, truth), expected.double(), rtol=1e-4, atol=1e-6)
    assert metric.distance(images, images).tolist() == [0.0, 0.0]


def test_small_grey_pictures_are_enlarged_for_alexnet(alexnet, judge):
    metric = perceptual_metric(judge, alexnet[0])
    images, truth = pictures(0, (2, 1, 8, 8)), pictures(1, (2, 1, 8, 8))
    larger = [
        torch.nn.functional.interpolate(x, size=64, mode="bilinear").expand(-1, 3, -1, -1) for x in (images, truth)
    ]
    torch.testing.assert_close(metric.distance(images, truth), metric.distance(*larger))


def test_a_damaged_download_is_named(alexnet, judge, tmp_path):
    damaged = tmp_path / next(alexnet[0].iterdir()).name
    damaged.write_bytes(b"half of it")
    with pytest.raises(FileError, match=f"{damaged.name} is not the file that its name says"):
        perceptual_metric(judge, tmp_path)


def test_without_official_weights_the_judges_layers_stand_in_and_the_name_says_so(judge, tmp_path):
    metric = perceptual_metric(judge, tmp_path)
    assert metric.name == STAND_IN
    images, truth = pictures(0, (300, 3, 32, 32)), pictures(1, (300, 3, 32, 32))  # more than one chunk
    assert (metric.distance(images, truth) > 0).all()
    assert metric.distance(images, images).abs().max() == 0
    torch.testing.assert_close(metric.distance(images, truth)[290:], metric.distance(images[290:], truth[290:]))


def test_the_formula_is_that_of_the_lpips_package(alexnet):
    """Its baseline, which weighs all channels alike, on the same layers."""
    _, state = alexnet
    images, truth = pictures(0, (2, 3, 64, 64)), pictures(1, (2, 3, 64, 64))
    layers, others = alexnet_layers(state, images), alexnet_layers(state, truth)
    expected = sum(
        lpips.spatial_average((lpips.normalize_tensor(y) - lpips.normalize_tensor(other)) ** 2).sum(1)
        for y, other in zip(layers, others)
    )
    torch.testing.assert_close(layer_distance(layers, others), expected.flatten())


def test_frechet_distance_agrees_with_the_matrix_square_root():
    mix = torch.randn(6, 6, generator=seeded(3), dtype=torch.float64)
    x = torch.randn(50, 6, generator=seeded(1), dtype=torch.float64)
    y = torch.randn(40, 6, generator=seeded(2), dtype=torch.float64) @ mix + 1.0
    s_x, s_y = torch.cov(x.T), torch.cov(y.T)
    root = torch.from_numpy(scipy.linalg.sqrtm((s_x @ s_y).numpy()).real)
    expected = (x.mean(0) - y.mean(0)).square().sum() + (s_x + s_y - 2 * root).trace()
    assert frechet_distance(x, y) == pytest.approx(expected.item())
    assert frechet_distance(x, x) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(x, x + 2.0) == pytest.approx(6 * 4.0)


def test_frechet_distance_works_with_fewer_pictures_than_features():
    x, y = torch.randn(5, 20, generator=seeded(1)), torch.randn(5, 20, generator=seeded(2))
    assert 0 < frechet_distance(x, y) < 100
    with pytest.raises(ImageError, match="two pictures or more, not 1 and 5"):
        frechet_distance(x[:1], y)
