# SPDX-License-Identifier: Apache-2.0
"""Every fixed-point solver on maps whose fixed points are known, sample by sample."""

import numpy as np
import pytest
import scipy.sparse.linalg
import tensorflow as tf

from homoode_tf.solvers import fixed_point, fusion
from homoode_tf.solvers.fixed_point import FixedPointError, FixedPointStatus, FixedPointWarning
from homoode_tf.solvers.fixed_point.gmres import gmres
from tests import slow

NAMES = fixed_point.names()
every_solver = pytest.mark.parametrize("name", NAMES)
TIGHT = {"rtol": 1e-11, "atol": 1e-12, "max_num_iterations": 400}


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


class LinearMap:
    """g(z) = A z + b, one b a sample: z* = (I - A)^-1 b."""

    def __init__(self, eigenvalues, batch=4):
        vectors = random(len(eigenvalues), len(eigenvalues))
        self.matrix = vectors @ np.diag(eigenvalues) @ np.linalg.inv(vectors)
        self.offset = random(batch, len(eigenvalues), seed=1)
        self.solution = np.linalg.solve(np.eye(len(self.matrix)) - self.matrix, self.offset.T).T

    def __call__(self, z):
        return z @ self.matrix.T + self.offset

    def start(self):
        return tf.zeros(self.offset.shape, tf.float64)


CONTRACTION = LinearMap(np.linspace(-0.5, 0.8, 6))
# Plain iteration runs away from this one.
EXPANSION = LinearMap([-2.0, 1.5, 0.3, 3.0, -0.7, 0.1])


def neural_map(batch=5, size=8):
    weights, inputs = 0.25 * random(size, size), random(batch, size, seed=1)
    return lambda z: tf.tanh(z @ weights + inputs[: z.shape[0]]), inputs.shape


@every_solver
@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_linear_contraction(name, graph):
    solver = fixed_point.get(name, **TIGHT)
    solve = lambda start: solver.solve(CONTRACTION, start)  # noqa: E731
    results = (tf.function(solve) if graph else solve)(CONTRACTION.start())
    np.testing.assert_allclose(results.state, CONTRACTION.solution, atol=1e-9)
    assert (results.status.numpy() == FixedPointStatus.CONVERGED).all()
    assert results.success


@pytest.mark.parametrize("name", ["anderson", "broyden", "newton_krylov"])
def test_maps_that_do_not_contract(name):
    options = {"memory": 6} if name == "anderson" else {}
    results = fixed_point.get(name, **TIGHT, **options).solve(EXPANSION, EXPANSION.start())
    np.testing.assert_allclose(results.state, EXPANSION.solution, atol=1e-7)


@every_solver
def test_cosine(name):
    results = fixed_point.get(name, **TIGHT).solve(tf.cos, tf.zeros([1, 1], tf.float64))
    assert float(results.state[0, 0]) == pytest.approx(0.7390851332151607, abs=1e-10)


@every_solver
def test_solvers_agree_to_the_tolerance_asked_for(name):
    fn, shape = neural_map()
    start = tf.zeros(shape, tf.float64)
    expected = fixed_point.get("damped", **TIGHT).solve(fn, start).state
    for tolerance in (1e-3, 1e-6, 1e-9):
        solver = fixed_point.get(name, rtol=tolerance, atol=tolerance)
        results = solver.solve(fn, start)
        # What is left of the way is the residual times a factor, for a contraction by 0.7.
        distance = np.sqrt(np.mean((results.state - expected) ** 2, axis=1))
        assert (distance <= 4.0 * tolerance * 2.0).all()
        assert (results.residual <= 2.0 * tolerance).numpy().all()


@every_solver
def test_a_convolutional_map_of_any_rank(name):
    kernel = tf.constant(0.1 * random(3, 3, 2, 2))
    inputs = tf.constant(random(3, 5, 5, 2, seed=1))
    fn = lambda z: 0.5 * tf.tanh(tf.nn.conv2d(z, kernel, 1, "SAME") + inputs)  # noqa: E731
    results = fixed_point.get(name, **TIGHT).solve(fn, tf.zeros_like(inputs))
    np.testing.assert_allclose(fn(results.state), results.state, atol=1e-10)
    assert results.state.shape == inputs.shape


class TestSamples:
    """A sample's answer is its own."""

    @every_solver
    def test_independence(self, name):
        """Alone, or beside samples that converge later, never, or overflow."""
        factors = tf.constant([0.5, 0.95, 1.2, 1e200, -0.3], tf.float64)[:, tf.newaxis]
        start = tf.constant(1.0 + random(5, 3) ** 2)

        def fn(count):
            return lambda z: factors[:count] * (tf.sin(z) + 1.0) * (1.0 + 1e-3 * z**2)

        solver = fixed_point.get(name, rtol=1e-9, atol=1e-9, on_failure="return")
        alone = solver.solve(fn(1), start[:1])
        among = solver.solve(fn(5), start)
        np.testing.assert_allclose(among.state[0], alone.state[0], rtol=1e-12)
        assert int(among.num_iterations[0]) == int(alone.num_iterations[0])
        assert int(among.status[0]) == FixedPointStatus.CONVERGED
        assert np.isfinite(among.state).all()

    def test_finished_samples_stand_still(self):
        rates = tf.constant([[0.1], [0.9]], tf.float64)
        results = fixed_point.get("damped", rtol=1e-6, atol=1e-6, max_num_iterations=200).solve(
            lambda z: rates * z + 1.0, tf.zeros([2, 1], tf.float64)
        )
        fast, slow = results.num_iterations.numpy()
        assert fast < 10 < slow == int(results.num_evaluations)


class TestFailures:
    @every_solver
    @pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
    def test_a_map_without_a_fixed_point_ends_with_a_status(self, name, graph, capfd):
        solver = fixed_point.get(name, max_num_iterations=12)
        solve = lambda z: solver.solve(lambda z: z + tf.abs(z) + 1.0, z)  # noqa: E731
        start = tf.zeros([2, 3])
        if graph:
            results = tf.function(solve)(start)
            assert "2 of 2 samples did not converge" in capfd.readouterr().err
        else:
            with pytest.warns(FixedPointWarning, match="2 of 2 samples did not converge"):
                results = solve(start)
        assert (results.status.numpy() < 0).all() and not results.success
        assert (results.residual.numpy() >= 1.0).all()
        assert np.isfinite(results.state).all()

    def test_raise(self):
        solver = fixed_point.get("damped", max_num_iterations=5, on_failure="raise")
        solve = lambda: solver.solve(lambda z: z + 1.0, tf.zeros([1, 1]))  # noqa: E731
        with pytest.raises(FixedPointError, match="max_num_iterations was used up"):
            solve()
        with pytest.raises(tf.errors.InvalidArgumentError, match="max_num_iterations was used up"):
            tf.function(solve)()

    def test_non_finite(self):
        solver = fixed_point.get("damped", on_failure="raise")
        with pytest.raises(FixedPointError, match="not finite"):
            solver.solve(lambda z: z / 0.0, tf.ones([1, 1]))

    def test_the_best_iterate_is_returned(self):
        """The iterates 1, -2, 4, ... of z -> -2 z move away from the first."""
        solver = fixed_point.get("damped", max_num_iterations=6, on_failure="return")
        results = solver.solve(lambda z: -2.0 * z, tf.ones([1, 1]))
        assert (float(results.state[0, 0]), float(results.residual[0])) == (1.0, 3.0)


class TestCost:
    @every_solver
    def test_evaluations_are_counted(self, name):
        calls = []

        def fn(z):
            calls.append(0)
            return CONTRACTION(z)

        results = fixed_point.get(name, rtol=1e-3).solve(fn, CONTRACTION.start())
        assert int(results.num_evaluations) == len(calls)

    def test_acceleration_pays(self):
        slow = LinearMap(np.linspace(-0.3, 0.97, 10))
        cost = {
            name: int(fixed_point.get(name, **TIGHT).solve(slow, slow.start()).num_evaluations)
            for name in ("anderson", "broyden", "newton_krylov")
        }
        damped = fixed_point.get("damped", **{**TIGHT, "max_num_iterations": 2000})
        assert max(cost.values()) < 0.15 * int(damped.solve(slow, slow.start()).num_evaluations)

    def test_newton_converges_quadratically(self):
        solver = fixed_point.get("newton_krylov", krylov_rtol=1e-8, **TIGHT)
        results = solver.solve(tf.cos, tf.zeros([1, 4], tf.float64))
        assert int(results.num_iterations[0]) <= 7

    @pytest.mark.parametrize("name", ["broyden", "bad_broyden", "anderson"])
    def test_little_memory_is_enough(self, name):
        solver = fixed_point.get(name, memory=2, **TIGHT)
        results = solver.solve(CONTRACTION, CONTRACTION.start())
        np.testing.assert_allclose(results.state, CONTRACTION.solution, atol=1e-9)


@pytest.mark.parametrize("jit_compile", [False, slow(True)])
@every_solver
def test_large_states_are_solved_as_small_ones(name, jit_compile, monkeypatch):
    """Where the rows that a method remembers are large, one is written in its place."""
    little = {} if name in ("damped", "newton_krylov") else {"memory": 3}
    solver = fixed_point.get(name, **TIGHT, **little, on_failure="return")
    fn, shape = neural_map()
    solve = lambda start: solver.solve(fn, start)  # noqa: E731
    small = tf.function(solve, autograph=False)(tf.zeros(shape, tf.float64))
    monkeypatch.setattr(fusion, "_SMALLEST_SIZE", 1)
    compiled = tf.function(solve, autograph=False, jit_compile=jit_compile)
    large = compiled(tf.zeros(shape, tf.float64))
    np.testing.assert_allclose(large.state, small.state, rtol=0, atol=1e-9)
    assert small.success and large.success
    assert np.abs(large.num_iterations - small.num_iterations).max() <= jit_compile


@pytest.mark.slow
@every_solver
def test_xla_agrees(name):
    solver = fixed_point.get(name, **TIGHT, on_failure="return")
    solve = lambda start: solver.solve(CONTRACTION, start)  # noqa: E731
    compiled = tf.function(solve, jit_compile=True)(CONTRACTION.start())
    np.testing.assert_allclose(compiled.state, CONTRACTION.solution, atol=1e-6)


class TestGMRES:
    def test_agrees_with_a_direct_solve(self):
        matrices, right = random(3, 6, 6) + 4.0 * np.eye(6), random(3, 6, seed=1)
        solution, products = gmres(
            lambda v: tf.linalg.matvec(matrices, v), tf.constant(right), 1e-12, 6
        )
        np.testing.assert_allclose(
            solution, np.linalg.solve(matrices, right[..., None])[..., 0], rtol=1e-9
        )
        assert int(products) == 6

    @pytest.mark.parametrize("dimension", [2, 4])
    def test_truncated_residual_is_scipys(self, dimension):
        """The smallest residual over the Krylov space is unique."""
        matrix, right = random(8, 8) + 4.0 * np.eye(8), random(1, 8, seed=1)
        ours, _ = gmres(
            lambda v: tf.linalg.matvec(matrix[np.newaxis], v), tf.constant(right), 1e-12, dimension
        )
        theirs, _ = scipy.sparse.linalg.gmres(
            matrix, right[0], rtol=1e-14, restart=dimension, maxiter=1
        )
        np.testing.assert_allclose(ours[0], theirs, rtol=1e-8)

    def test_stops_when_it_is_done(self):
        """Each sample needs as many products as it has different eigenvalues."""
        diagonals = np.array([[2.0, 2.0, 2.0, 2.0], [1.0, 1.0, 5.0, 5.0], [1.0, 1.0, 1.0, 1.0]])
        right = np.array([[1.0, 2.0, 3.0, 4.0]] * 2 + [[0.0] * 4])
        solution, products = gmres(lambda v: diagonals * v, tf.constant(right), 1e-10, 4)
        np.testing.assert_allclose(solution, right / diagonals, rtol=1e-10)
        assert int(products) == 2


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"rtol": 0.0}, "rtol must be a number above 0, got 0.0"),
            ({"atol": -1.0}, "atol must be a number above 0"),
            ({"max_num_iterations": 2.5}, "max_num_iterations must be an integer at least 1"),
            ({"on_failure": "ignore"}, "on_failure must be one of warn, raise, return"),
            ({"memory": 0}, "memory must be an integer at least 1"),
        ],
    )
    def test_of_the_constructor(self, options, message):
        with pytest.raises(ValueError, match=message):
            fixed_point.get("anderson", **options)

    def test_of_the_methods(self):
        with pytest.raises(ValueError, match="update must be one of good, bad"):
            fixed_point.get("broyden", update="ugly")
        with pytest.raises(ValueError, match="krylov_rtol must be below 1"):
            fixed_point.get("newton_krylov", krylov_rtol=1.0)
        with pytest.raises(TypeError, match="restart"):
            fixed_point.get("damped", restart=3)

    def test_unknown_name(self):
        with pytest.raises(ValueError, match="must be one of damped, anderson"):
            fixed_point.get("newton")

    def test_of_solve(self):
        solver = fixed_point.get("damped")
        with pytest.raises(TypeError, match="must be floating, got int32"):
            solver.solve(lambda z: z, tf.zeros([2, 2], tf.int32))
        with pytest.raises(ValueError, match="leading batch dimension"):
            solver.solve(lambda z: z, 1.0)
        with pytest.raises(ValueError, match="must return the shape of its state"):
            solver.solve(lambda z: z[:, :1], tf.zeros([2, 2]))
