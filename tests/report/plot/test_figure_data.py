# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from sklearn.decomposition import PCA

from homoode_tf.layers import HomoODE
from homoode_tf.plot import Confusion, Projection, Solve, SolveSummary, Trajectory, follow
from tests.layers.vector_fields import DecayingDynamics
from tests.report.plot.test_trajectories import random

LABELS = np.array([2, 0, 2])


@pytest.fixture(scope="module")
def solve():
    layer = HomoODE(DecayingDynamics(), rtol=1e-4, atol=1e-4, initial_point="alternating")
    return follow(layer, random(7, 3, 2, 5))


class TestSolveSummary:
    def test_medians_and_spread_by_hand(self):
        residuals = np.array([[4.0, 0.0, 1.0, 3.0, 2.0], [8.0, 8.0, 8.0, 8.0, 8.0]])
        states = np.zeros([2, 5, 1])
        steps = Trajectory(np.array([0.0, 1.0]), states, residuals)
        curve = Trajectory(np.array([0.0, 1.0]), states, 10 * residuals)
        summary = SolveSummary.make(Solve(steps, curve, num_evaluations=7, num_rejected_steps=2))
        assert (summary.images, summary.evaluations, summary.rejected_steps) == (5, 7, 2)
        np.testing.assert_array_equal(summary.step_sizes, [1.0])
        np.testing.assert_array_equal(summary.step_residuals, [2.0, 8.0])
        expected = {"0": 0.0, "25": 10.0, "50": 20.0, "75": 30.0, "100": 40.0}
        assert {name: values[0] for name, values in summary.residuals.items()} == expected
        assert {values[1] for values in summary.residuals.values()} == {80.0}

    def test_of_a_solve(self, solve):
        summary = SolveSummary.make(solve)
        assert summary.images == 7
        np.testing.assert_allclose(summary.residuals["50"], np.median(solve.curve.residuals, 1))
        np.testing.assert_allclose(np.diff(summary.step_times), summary.step_sizes)


class TestProjection:
    def test_is_the_one_of_scikit_learn(self, solve):
        projection = Projection.make(solve, LABELS)
        means = solve.steps.states[:, :3].mean(axis=(2, 3))
        pca = PCA(n_components=2).fit(means.reshape(-1, 5))
        np.testing.assert_allclose(
            projection.explained_variance, pca.explained_variance_ratio_, rtol=1e-4
        )
        for image in range(3):
            both = (projection.steps, solve.steps), (projection.curves, solve.curve)
            for found, trajectory in both:
                expected = pca.transform(trajectory.states[:, image].mean(axis=(1, 2)))
                np.testing.assert_allclose(found[image], expected, atol=1e-5)

    def test_the_start_is_shared_and_the_ends_are_not(self, solve):
        projection = Projection.make(solve, LABELS)
        assert projection.shared_start
        for starts in (projection.steps[:, 0], projection.curves[:, 0]):
            np.testing.assert_allclose(starts, starts[:1].repeat(3, axis=0), atol=1e-12)
        ends = projection.steps[:, -1]
        assert np.linalg.norm(ends[0] - ends[1]) > 0.01
        np.testing.assert_allclose(projection.curves[:, -1], ends, atol=1e-5)

    def test_states_that_do_not_move(self):
        still = Trajectory(np.array([0.0, 1.0]), np.ones([2, 3, 4]), np.zeros([2, 3]))
        with np.errstate(invalid="ignore"):
            projection = Projection.make(Solve(still, still, 2, 0), LABELS)
        np.testing.assert_array_equal(projection.explained_variance, 0)
        np.testing.assert_allclose(projection.steps, 0, atol=1e-12)

    def test_one_channel_is_an_error(self):
        still = Trajectory(np.array([0.0, 1.0]), np.ones([2, 3, 1]), np.zeros([2, 3]))
        with pytest.raises(ValueError, match="one channel"):
            Projection.make(Solve(still, still, 2, 0), LABELS)


class TestConfusion:
    def test_by_hand(self):
        confusion = Confusion.make(
            np.array([0, 0, 1, 2, 2, 2]), np.array([0, 1, 1, 2, 2, 0]), ("a", "b", "c", "d")
        )
        np.testing.assert_array_equal(
            confusion.matrix, [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 2, 0], [0, 0, 0, 0]]
        )
        assert confusion.accuracy == pytest.approx(4 / 6)
        assert confusion.class_names == ("a", "b", "c", "d")
