"""Panels: the kernel of whole pictures against one that is written out, and a law that is put in."""

import numpy as np
import pandas as pd
import pytest
import torch

from studies import panels
from tiramisu_edu.lab.evaluation.comparison import Cases, circuit_mean
from tiramisu_edu.lab.evaluation.metrics import hidden_mse
from tiramisu_edu.steering.controls.kernel import KernelCodebook
from tiramisu_edu.steering.evidence import Observation


def cases_of(generator, count):
    images = torch.rand(count, 1, 4, 4, generator=generator, dtype=torch.float64) * 2 - 1
    known = torch.zeros(count, 1, 4, 4, dtype=torch.bool)
    known[..., :2] = True
    return Cases(images, torch.zeros(count), known, torch.arange(count))


@pytest.mark.parametrize("alpha_bar", [0.0, 0.6])
def test_a_kernel_of_panels_is_the_kernel_of_wide_pictures(alpha_bar):
    generator = torch.Generator().manual_seed(0)
    stored = torch.rand(5, 1, 4, 4, generator=generator, dtype=torch.float64) * 2 - 1
    cases, x_t = cases_of(generator, 6), torch.randn(6, 1, 4, 4, generator=generator, dtype=torch.float64)
    book = panels.panel_kernel(stored, 2, 0.5)

    def wide(rows):  # (2 B, 1, 4, 4) -> (B, 1, 4, 8)
        return torch.cat(list(rows.unflatten(0, (-1, 2)).unbind(1)), -1)

    written_out = KernelCodebook(torch.cat([stored[order] for order in book.orders], -1), 0.5)
    seen = Observation(x_t, alpha_bar, cases.images, cases.known)
    wide_seen = Observation(wide(x_t), alpha_bar, wide(cases.images), wide(cases.known))
    found = book.mean(book.circuit().posterior_marginals(book.log_weights(seen)), seen)
    expected = written_out.mean(
        written_out.circuit().posterior_marginals(written_out.log_weights(wide_seen)), wide_seen
    )
    torch.testing.assert_close(wide(found), expected)


def test_one_panel_is_an_ordinary_kernel():
    generator = torch.Generator().manual_seed(1)
    cases, stored = cases_of(generator, 4), torch.rand(6, 1, 4, 4, generator=generator, dtype=torch.float64)
    plain = KernelCodebook(stored, 0.3)
    expected = circuit_mean(plain.circuit(), plain, cases.images, cases.known)
    book = panels.panel_kernel(stored, 1, 0.3)
    torch.testing.assert_close(circuit_mean(book.circuit(), book, cases.images, cases.known), expected)
    found = panels.errors(stored, 1, [5.0, 0.3], cases)
    torch.testing.assert_close(found[1], hidden_mse(expected, cases.images, cases.known), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("exponent", [1.0, 1.3])
def test_the_law_that_is_put_in_comes_out(exponent):
    rows = [["mean picture", 0, G, 0.5] for G in panels.PANELS]
    rows += [[f"{n}", n, G, 0.5 - 0.02 * np.log(n) / G**exponent] for n in panels.STORED for G in panels.PANELS]
    found, explained = panels.fitted_law(pd.DataFrame(rows, columns=["model", "stored", "G", "mean"]))
    assert found == pytest.approx(exponent) and explained == pytest.approx(1)


def test_the_study_writes_its_page(tmp_path, monkeypatch):
    for name, value in {
        "PANELS": (1, 2),
        "STORED": (16, 32),
        "BANDWIDTHS": (0.1, 1.0),
        "STEERED": 16,
        "STEPS": 2,
    }.items():
        monkeypatch.setattr(panels, name, value)
    panels.main(["--worlds", "rooms", "--images", "16", "--steer", "--out", str(tmp_path)])
    page = (tmp_path / "panels.md").read_text()
    assert "| circuit |" in page and "kernel of 16, G = 2, variance" in page and "n^(G^" in page
    assert (tmp_path / "panels.png").stat().st_size > 5_000
