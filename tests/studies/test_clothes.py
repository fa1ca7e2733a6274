"""The rivals of the circuit on clothes: the Gaussian against its formula, the kernel's bandwidth, the page."""

import torch

from studies import clothes
from tiramisu_edu.masks import mask_batch


def test_a_full_gaussian_conditions_exactly_whatever_the_mask():
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(9, 9, generator=generator) / 5
    train = (torch.randn(400, 9, generator=generator) @ mixing + 0.1).view(-1, 1, 3, 3)
    known = torch.rand(6, 1, 3, 3, generator=generator) < 0.5
    filled = clothes.full_gaussian(train)(train[:6], known)
    rows = train.flatten(1).double()
    precision = torch.linalg.inv(torch.cov(rows.T) + 1e-4 * torch.eye(9))
    for x, k, found in zip(rows, known.flatten(1), filled.flatten(1).double()):
        step = torch.linalg.solve(precision[~k][:, ~k], precision[~k][:, k] @ (x - rows.mean(0))[k])
        torch.testing.assert_close(found[~k], rows.mean(0)[~k] - step, atol=1e-5, rtol=1e-5)


def test_the_kernels_bandwidth_is_the_best_of_the_grid(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    train = torch.rand(60, 1, 28, 28, generator=generator) * 2 - 1
    near = (train[:20] + 0.05 * torch.randn(20, 1, 28, 28, generator=generator)).clamp(-1, 1)
    monkeypatch.setattr(clothes, "BANDWIDTHS", (0.1, 1000.0))
    assert clothes.tuned_kernel(train, near, "left").variance == 0.1  # each is near a stored one
    far = torch.rand(20, 1, 28, 28, generator=generator) * 2 - 1
    assert clothes.tuned_kernel(train, far, "left").variance == 1000.0  # the mean picture is the best guess


def test_the_page_compares_every_rival(tmp_path):
    images = torch.rand(10, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
    fills = {clothes.OURS: lambda x, known: x, "zero": lambda x, known: 0 * x}
    values, gaps = clothes.errors(lambda mask: fills, images, 0)
    assert set(values.frame.set_index("model").loc[clothes.OURS]) == {"0.0000"}
    known = mask_batch("left", 10, 28, 28, generator=torch.Generator().manual_seed(0))
    error = images.square()[~known].mean()
    assert gaps.frame["left"].tolist()[0].startswith(f"+{error:.4f} [")
