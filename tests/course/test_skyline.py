"""The world of skylines: its list, its definition and its circuit say the same, and conditioning is what it says."""

from __future__ import annotations

import numpy as np
import pytest

from tiramisu_edu.circuits.enumeration import brute_force_joint, is_deterministic
from tiramisu_edu.course.skyline import conditional, list_pictures, probability, skyline_circuit
from tiramisu_edu.errors import EvidenceError, TiramisuError

SIZES = [(1, 1), (1, 3), (2, 1), (2, 3), (3, 2), (3, 4)]


@pytest.mark.parametrize(("storeys", "houses"), SIZES)
def test_the_circuit_is_the_list(storeys, houses):
    pictures, p = list_pictures(storeys, houses)
    circuit = skyline_circuit(storeys, houses)
    assert pictures.shape == (2 ** (storeys * houses), storeys * houses)
    assert p.sum() == pytest.approx(1)
    np.testing.assert_allclose(brute_force_joint(circuit).probabilities.ravel(), p, atol=1e-15)
    assert is_deterministic(circuit)


@pytest.mark.parametrize(("storeys", "houses", "wear"), [(2, 2, 0.05), (2, 3, 0.2)])
def test_wear_flips_pixels_independently(storeys, houses, wear):
    pictures, p = list_pictures(storeys, houses)
    flips = (pictures[:, None] != pictures).sum(-1)  # (worn picture, true picture)
    worn = (wear**flips * (1 - wear) ** (pictures.shape[1] - flips)) @ p
    circuit = skyline_circuit(storeys, houses, wear)
    np.testing.assert_allclose(brute_force_joint(circuit).probabilities.ravel(), worn, rtol=1e-12)
    assert not is_deterministic(circuit)


def test_rules():
    _, p = list_pictures(3, 4)
    moves = np.eye(4) + np.eye(4, k=1) + np.eye(4, k=-1)
    assert (p > 0).sum() == np.linalg.matrix_power(moves, 3).sum() == 68
    assert probability(np.array([[1, 0], [0, 0]])) == pytest.approx(2 / 6 * 1 / 4)
    assert probability(np.array([[1, 1], [1, 1]])) == pytest.approx(1 / 6 * 1 / 2)
    assert probability(np.array([[0, 1], [1, 1]])) == 0  # floats
    assert probability(np.array([[0, 1], [0, 1]])) == 0  # a cliff


def test_edges_grow_by_the_same_number_with_every_house():
    edges = [skyline_circuit(3, houses).num_edges for houses in range(1, 7)]
    assert set(np.diff(edges)) == {26}


def test_conditioning_keeps_what_agrees():
    pictures, p = list_pictures(2, 2)
    known = np.array([True, False, False, True])
    q = conditional(pictures, p, np.array([1, 0, 0, 0]), known)
    agrees = (pictures[:, 0] == 1) & (pictures[:, 3] == 0)
    np.testing.assert_allclose(q, np.where(agrees, p, 0) / p[agrees].sum())
    np.testing.assert_allclose(conditional(pictures, p, pictures[0], np.zeros(4, dtype=bool)), p)
    with pytest.raises(EvidenceError, match="no possible picture agrees"):
        conditional(pictures, p, np.array([0, 0, 1, 0]), np.ones(4, dtype=bool))


def test_long_lists_are_refused():
    with pytest.raises(TiramisuError, match=r"2\^20 pictures are too many"):
        list_pictures(4, 5)
