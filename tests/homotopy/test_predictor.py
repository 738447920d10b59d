# SPDX-License-Identifier: Apache-2.0
"""The cubic through two points of a path, on curves in closed form."""

import numpy as np
import pytest

from homoode_tf.homotopy.predictor import Predictor, arc_length


def test_predictor_continues_a_cubic_exactly():
    rng = np.random.RandomState(0)
    coefficients = rng.randn(4, 3)
    curve = lambda h: h ** np.arange(4) @ coefficients  # noqa: E731
    slope = lambda h: (np.arange(1, 4) * h ** np.arange(3)) @ coefficients[1:]  # noqa: E731
    length = 0.7
    predictor = Predictor.hermite(slope(0.0), slope(-length), curve(0.0) - curve(-length), length)
    for distance in (-0.7, -0.3, 0.0, 0.5, 1.4):
        np.testing.assert_allclose(
            predictor.change(distance), curve(distance) - curve(0.0), atol=1e-13
        )


def test_predictor_finds_where_lambda_rises_and_turns():
    # On the unit circle (cos s, sin s), from s = 1.4 to s = 1.8; its top is at pi / 2.
    point = lambda s: np.array([np.cos(s), np.sin(s)])  # noqa: E731
    tangent = lambda s: np.array([-np.sin(s), np.cos(s)])  # noqa: E731
    predictor = Predictor.hermite(tangent(1.8), tangent(1.4), point(1.8) - point(1.4), 0.4)
    assert predictor.distance_to_fold() == pytest.approx(np.pi / 2 - 1.8, abs=1e-3)
    assert predictor.distance_to_rise(0.1, 1.0) is None
    predictor = Predictor.euler(tangent(1.0))
    assert predictor.distance_to_rise(0.1, 1.0) == pytest.approx(0.1 / np.cos(1.0))
    assert predictor.distance_to_rise(0.1, 0.1) is None
    assert predictor.distance_to_fold() is None
    chord = np.linalg.norm(point(1.8) - point(1.4))
    assert arc_length(chord, tangent(1.8), tangent(1.4)) == pytest.approx(0.4, rel=1e-12)
