"""The layered skylines are the listed ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tiramisu_edu.course.skyline import conditional, list_pictures, skyline_layers


@pytest.mark.parametrize(("storeys", "houses"), [(1, 1), (1, 3), (2, 1), (2, 3), (3, 2), (3, 4)])
def test_the_layers_are_the_list(storeys, houses):
    pictures, p = list_pictures(storeys, houses)
    circuit = skyline_layers(storeys, houses)
    np.testing.assert_allclose(circuit.log_likelihood(torch.tensor(pictures)).exp(), p, atol=1e-14)


def test_the_layers_condition_like_the_list_and_keep_the_dtype():
    pictures, p = list_pictures(3, 3)
    picture, known = pictures[np.argmax(p)], np.arange(9) % 2 == 0
    log_w = torch.zeros(1, 9, 2).masked_fill(
        torch.tensor(known[:, None] & (picture[:, None] != np.arange(2))), -torch.inf
    )
    circuit = skyline_layers(3, 3, dtype=torch.float32)
    marginals = circuit.posterior_marginals(log_w)
    assert marginals.dtype == torch.float32
    np.testing.assert_allclose(marginals[0, :, 1], conditional(pictures, p, picture, known) @ pictures, atol=1e-6)
