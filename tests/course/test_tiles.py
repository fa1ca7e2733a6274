"""The stand-in for Triton's language: tiles that hang over the edge, and addresses outside an array."""

from __future__ import annotations

import numpy as np
import pytest

from teaching.solutions.nb11 import check_kernel
from tiramisu_edu.course.tiles import Address, launch, tl


@pytest.mark.parametrize("blocks", [(1, 1, 1), (2, 4, 2), (16, 16, 16)])
def test_a_kernel_in_tiles_is_the_product(blocks):
    rng = np.random.default_rng(0)
    theta, log_x = rng.random((5, 7)), rng.normal(size=(7, 3)) - np.array([0.0, 700.0, 3000.0])
    top = log_x.max(0)
    assert np.allclose(check_kernel.solution(theta, log_x, blocks), np.log(theta @ np.exp(log_x - top)) + top)


def test_nothing_outside_an_array_is_read_or_written():
    array = np.arange(6.0).reshape(2, 3)
    inside = np.arange(8) < 6
    assert tl.load(Address(array) + np.arange(8), mask=inside, other=-1.0).tolist() == [0, 1, 2, 3, 4, 5, -1, -1]
    tl.store(Address(array) + np.arange(8), np.arange(8) + 10.0, mask=inside)
    assert array.ravel().tolist() == [10, 11, 12, 13, 14, 15]
    with pytest.raises(IndexError):
        tl.load(Address(array) + np.arange(8))


def test_a_product_is_added_to_what_was_summed():
    x, y, acc = np.arange(6.0).reshape(2, 3), np.ones((3, 2)), np.full((2, 2), 5.0)
    assert tl.dot(x, y, acc).tolist() == [[8, 8], [17, 17]]
    assert acc.tolist() == [[5, 5], [5, 5]]


def test_a_kernel_that_stores_nothing_has_no_result():
    assert launch(lambda *_: None, np.eye(2), np.zeros((2, 1)), (2, 2, 2)) is None
