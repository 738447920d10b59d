# SPDX-License-Identifier: Apache-2.0
"""Paths lead to the known zeroes, around turning points, and end with a status if they cannot."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from scipy import integrate, optimize

from homoode_tf import homotopy
from homoode_tf.homotopy import HomotopyError, PathStatus
from homoode_tf.homotopy.predictor import Predictor, arc_length

HOMOTOPIES = ("newton", "fixed_point")
JACOBIANS = ("dense", "matrix_free")


@pytest.fixture(autouse=True)
def no_warning_of_retracing(caplog):
    """Each trace compiles anew; TensorFlow warns of that once or twice, in whichever test."""
    yield
    assert "retracing" not in " ".join(r.getMessage() for r in caplog.get_records("call"))


def t(value):
    return tf.constant(value, tf.float64)


@dataclasses.dataclass(frozen=True, eq=False)
class System:
    """A residual and what is known of its zeroes."""

    name: str
    residual: Callable[[tf.Tensor], tf.Tensor]
    start: np.ndarray
    roots: Callable[[], np.ndarray]
    # Accuracy of the state; the residual is always below 1e-9.
    accuracy: float = 1e-8
    homotopies: tuple[str, ...] = HOMOTOPIES

    def __str__(self):
        return self.name


def _rosenbrock(z):
    return tf.stack([10.0 * (z[..., 1] - z[..., 0] ** 2), 1.0 - z[..., 0]], -1)


def _powell_singular(z):
    return tf.stack(
        [
            z[0] + 10.0 * z[1],
            np.sqrt(5.0) * (z[2] - z[3]),
            (z[1] - 2.0 * z[2]) ** 2,
            np.sqrt(10.0) * (z[0] - z[3]) ** 2,
        ]
    )


def _broyden_tridiagonal(z):
    before, after = tf.pad(z[:-1], [[1, 0]]), tf.pad(z[1:], [[0, 1]])
    return (3.0 - 2.0 * z) * z - before - 2.0 * after + 1.0


def _broyden_root():
    """By SciPy, from a formula of its own."""

    def residual(z):
        result = (3.0 - 2.0 * z) * z + 1.0
        result[1:] -= z[:-1]
        result[:-1] -= 2.0 * z[1:]
        return result

    solution = optimize.root(residual, -np.ones(20), tol=1e-14)
    assert solution.success
    return solution.x[None]


def _brown_almost_linear(z):
    return tf.concat([z[:-1] + tf.reduce_sum(z) - (z.shape[0] + 1.0), [tf.reduce_prod(z) - 1.0]], 0)


def _brown_roots(size):
    """(a, ..., a, a^(1 - n)) with n a^n - (n + 1) a^(n - 1) + 1 = 0."""
    values = np.roots([size, -(size + 1.0), *[0.0] * (size - 2), 1.0])
    real = values[abs(values.imag) < 1e-9].real
    return np.stack([np.append(np.full(size - 1, a), a ** (1.0 - size)) for a in real])


def _cubic(z):
    return z**3 - 3.0 * z + 3.0


def _cubic_root():
    values = np.roots([1.0, 0.0, -3.0, 3.0])
    return values[abs(values.imag) < 1e-9].real[:, None]


SYSTEMS = (
    System("rosenbrock", _rosenbrock, [-1.2, 1.0], lambda: np.ones([1, 2])),
    # The Jacobian has rank two at the root: a residual of 1e-10 leaves the state 1e-5 away.
    System(
        "powell_singular",
        _powell_singular,
        [3.0, -1.0, 0.0, 1.0],
        lambda: np.zeros([1, 4]),
        accuracy=1e-4,
        homotopies=("newton",),
    ),
    System("broyden_tridiagonal", _broyden_tridiagonal, -np.ones(20), _broyden_root),
    System("brown_5", _brown_almost_linear, np.full(5, 0.5), lambda: _brown_roots(5)),
    System(
        "brown_10",
        _brown_almost_linear,
        np.full(10, 0.5),
        lambda: _brown_roots(10),
        homotopies=("fixed_point",),
    ),
    System("arctan", tf.atan, [3.0], lambda: np.zeros([1, 1])),
    System("cubic", _cubic, [2.0], _cubic_root),
)
CASES = [(s, h, j) for s in SYSTEMS for h in s.homotopies for j in JACOBIANS]
every_case = pytest.mark.parametrize(("system", "name", "jacobian"), CASES, ids=str)


@functools.lru_cache
def solved(system, name, jacobian):
    return homotopy.trace(system.residual, t(system.start), homotopy=name, jacobian=jacobian)


def root_mean_square(values):
    return float(np.sqrt(np.mean(np.square(values))))


@every_case
def test_finds_a_known_root(system, name, jacobian):
    path = solved(system, name, jacobian)
    assert path.success and path.status == 0
    errors = abs(system.roots() - path.state.numpy()).max(axis=1)
    assert errors.min() < system.accuracy
    residual = root_mean_square(system.residual(path.state))
    assert residual < 1e-9
    assert path.residual_norm == pytest.approx(residual, rel=1e-3, abs=1e-14)


@every_case
def test_every_point_is_on_the_path(system, name, jacobian):
    path = solved(system, name, jacobian)
    start = t(system.start)
    scale = root_mean_square(system.residual(start))
    for state, parameter in zip(path.states, path.lambdas, strict=True):
        if name == "newton":
            value = system.residual(state) - (1.0 - parameter) * system.residual(start)
        else:
            value = parameter * system.residual(state) + (1.0 - parameter) * (state - start)
        assert root_mean_square(value) < 2e-8 * scale


@every_case
def test_leads_from_the_initial_point_to_lambda_one(system, name, jacobian):
    path = solved(system, name, jacobian)
    assert path.states.shape == [len(path.lambdas), len(system.start)]
    np.testing.assert_array_equal(path.states[0], system.start)
    np.testing.assert_array_equal(path.states[-1], path.state)
    assert path.lambdas[0] == 0.0 and path.lambdas[-1] == 1.0 and path.lambdas[1] > 0.0
    # Steps of arc length, never backwards: at least the chords.
    steps, chords = np.diff(path.arc_lengths), []
    for i in range(len(steps)):
        change = path.states[i + 1] - path.states[i]
        chords.append(np.hypot(root_mean_square(change), path.lambdas[i + 1] - path.lambdas[i]))
    assert path.arc_lengths[0] == 0.0 and (steps > 0.999999 * np.array(chords)).all()
    assert (steps < 1.02 * np.array(chords)).all()


@every_case
def test_bends_are_resolved(system, name, jacobian):
    path = solved(system, name, jacobian)
    scale = np.sqrt(len(system.start))
    points = np.column_stack([path.states / scale, path.lambdas])
    chords = np.diff(points, axis=0)[:-1]
    chords /= np.linalg.norm(chords, axis=1, keepdims=True)
    # Of two arcs that turn by at most 0.6 each, the chords differ by at most that.
    assert (np.sum(chords[1:] * chords[:-1], axis=1) > np.cos(0.65)).all()


@every_case
def test_counts_are_of_the_mode(system, name, jacobian):
    path = solved(system, name, jacobian)
    assert len(path.lambdas) - 1 <= path.num_steps <= 1000
    if jacobian == "dense":
        assert path.num_jacobian_evaluations == path.num_evaluations > path.num_steps
        assert path.num_jacobian_products == 0
    else:
        assert path.num_jacobian_products > path.num_evaluations > path.num_steps
        assert path.num_jacobian_evaluations == 0


def test_arrives_where_newton_diverges():
    state = 3.0
    for _ in range(4):
        last, state = state, state - np.arctan(state) * (1.0 + state**2)
        assert abs(state) > 3.0 * abs(last)
    path = homotopy.trace(tf.atan, t([3.0]))
    assert abs(path.state[0]) < 1e-8 and max(abs(path.states[:, 0])) == 3.0


@pytest.mark.parametrize("jacobian", JACOBIANS)
def test_passes_turning_points(jacobian):
    # lambda = 1 - r(z) / r(2) has its turning points where r' = 0: at z = 1 and z = -1.
    path = homotopy.trace(_cubic, t([2.0]), jacobian=jacobian, max_step_length=0.3)
    states, lambdas = path.states[:, 0].numpy(), path.lambdas.numpy()
    rising = np.diff(lambdas) > 0.0
    assert np.flatnonzero(np.diff(rising)).size == 2 and rising[0] and rising[-1]
    assert (np.diff(states) < 0.0).all()
    turns = np.flatnonzero(np.diff(rising)) + 1
    np.testing.assert_allclose(states[turns], [1.0, -1.0], atol=0.3)
    np.testing.assert_allclose(lambdas[turns], [0.8, 0.0], atol=0.1)
    np.testing.assert_allclose(path.state[0], _cubic_root()[0, 0], rtol=1e-10)


@pytest.mark.parametrize("jacobian", JACOBIANS)
@pytest.mark.parametrize("name", HOMOTOPIES)
@pytest.mark.parametrize(("start", "max_step_length"), [(1.0, 10.0), (3.0, 10.0), (3.0, 0.2)])
def test_ends_at_a_double_root_that_the_path_only_touches(start, max_step_length, name, jacobian):
    # The paths have a turning point at lambda = 1 itself; they never go beyond.
    path = homotopy.trace(
        lambda z: z**2,
        t([start]),
        homotopy=name,
        jacobian=jacobian,
        max_step_length=max_step_length,
    )
    assert path.residual_norm < 1e-9 and abs(path.state[0]) < 1e-4
    assert path.num_steps < 30


def test_a_step_is_not_corrected_by_much_of_its_length():
    # The tangent at z = 3 reaches lambda = 1 at z = 1.5. Newton's method gets from there to z = 0,
    # but over a distance of 1.5 after a step of 1.8.
    path = homotopy.trace(lambda z: z**2, t([3.0]), initial_step_length=10.0)
    assert 0.0 < path.lambdas[1] < 1.0 and len(path.lambdas) <= path.num_steps


def test_arc_length_of_a_curve():
    path = homotopy.trace(_cubic, t([2.0]), max_step_length=0.1)
    speed = lambda z: np.hypot(1.0, (3.0 * z**2 - 3.0) / 5.0)  # noqa: E731
    expected = integrate.quad(speed, _cubic_root()[0, 0], 2.0)[0]
    assert float(path.arc_lengths[-1]) == pytest.approx(expected, rel=1e-3)


def test_arc_length_does_not_depend_on_the_number_of_elements():
    one = homotopy.trace(_rosenbrock, t([-1.2, 1.0]))
    eight = homotopy.trace(_rosenbrock, t([[-1.2, 1.0]] * 8))
    assert eight.states.shape == [len(one.lambdas), 8, 2]
    np.testing.assert_allclose(eight.lambdas, one.lambdas, atol=1e-7)
    np.testing.assert_allclose(eight.arc_lengths, one.arc_lengths, rtol=1e-7)
    np.testing.assert_allclose(eight.states[:, 5], one.states, atol=1e-7)


@pytest.mark.parametrize("jacobian", JACOBIANS)
@pytest.mark.parametrize("name", HOMOTOPIES)
def test_counts_every_evaluation(name, jacobian):
    calls = tf.Variable(0)

    def counted(z):
        calls.assign_add(1)
        return _broyden_tridiagonal(z)

    path = homotopy.trace(counted, t(-np.ones(20)), homotopy=name, jacobian=jacobian)
    assert path.num_evaluations > 5
    assert int(calls) == path.num_evaluations + path.num_jacobian_products


def test_step_lengths_stay_within_their_bounds():
    path = homotopy.trace(_cubic, t([2.0]), initial_step_length=0.05, max_step_length=0.2)
    steps = np.diff(path.arc_lengths)
    assert steps[0] == pytest.approx(0.05, rel=0.02) and 0.15 < steps.max() < 0.21
    longer = homotopy.trace(_cubic, t([2.0]))
    assert len(longer.lambdas) < len(path.lambdas)


@pytest.mark.parametrize("name", HOMOTOPIES)
def test_a_start_that_is_a_zero_is_returned(name):
    path = homotopy.trace(_rosenbrock, t([1.0, 1.0]), homotopy=name)
    np.testing.assert_array_equal(path.states, np.ones([2, 2]))
    np.testing.assert_array_equal(path.lambdas, [0.0, 1.0])
    assert path.success and path.num_evaluations == 1


@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (1, 2, 2, 2)])
def test_states_of_any_shape(shape):
    path = homotopy.trace(lambda z: z - tf.cos(z), tf.zeros(shape, tf.float64))
    assert path.state.shape == shape and path.states.shape == (len(path.lambdas), *shape)
    np.testing.assert_allclose(path.state, np.full(shape, 0.7390851332151607), rtol=1e-9)


@pytest.mark.parametrize("jacobian", JACOBIANS)
@pytest.mark.parametrize("name", HOMOTOPIES)
def test_float32(name, jacobian):
    start = tf.constant([-1.2, 1.0], tf.float32)
    path = homotopy.trace(_rosenbrock, start, homotopy=name, jacobian=jacobian)
    for tensor in (path.state, path.states, path.lambdas, path.arc_lengths):
        assert tensor.dtype == tf.float32
    np.testing.assert_allclose(path.state, [1.0, 1.0], atol=1e-3)


def convolutional_map(size):
    """g(z; x) = 0.5 tanh(conv(z) + x), contractive by a factor of 0.45."""
    rng = np.random.RandomState(0)
    kernel = rng.randn(3, 3, 2, 2)
    # The convolution's norm is at most the sum over positions of the spectral norms.
    kernel *= 0.9 / np.linalg.norm(kernel, 2, axis=(2, 3)).sum()
    condition = t(rng.randn(1, size, size, 2))
    return lambda z: 0.5 * tf.tanh(tf.nn.conv2d(z, t(kernel), 1, "SAME") + condition)


@pytest.mark.parametrize("name", HOMOTOPIES)
@pytest.mark.parametrize(("size", "jacobian"), [(4, "matrix_free"), (4, "dense"), (12, "auto")])
def test_fixed_point_of_a_convolutional_map(size, jacobian, name):
    g = convolutional_map(size)
    expected = tf.zeros([1, size, size, 2], tf.float64)
    for _ in range(60):
        expected = g(expected)
    start = tf.ones_like(expected)
    path = homotopy.trace(lambda z: z - g(z), start, homotopy=name, jacobian=jacobian)
    assert np.abs(expected - g(expected)).max() < 1e-14
    np.testing.assert_allclose(path.state, expected, rtol=0.0, atol=1e-8)
    # 288 elements are too many for "auto" to choose "dense".
    assert (path.num_jacobian_evaluations == 0) == (jacobian != "dense")


@pytest.mark.parametrize("jacobian", JACOBIANS)
@pytest.mark.parametrize("system", [s for s in SYSTEMS if len(s.homotopies) == 1], ids=str)
def test_the_other_path_of_these_systems_goes_to_infinity(system, jacobian):
    # Powell's turns at lambda = 0.03, Brown's already at 5e-6; so they do with steps of 0.02.
    (other,) = set(HOMOTOPIES) - set(system.homotopies)
    path = homotopy.trace(
        system.residual,
        t(system.start),
        homotopy=other,
        jacobian=jacobian,
        max_distance=20.0,
        on_failure="return",
    )
    assert path.status == PathStatus.DIVERGED and max(path.lambdas) < 0.1


def no_zero(z):
    return 1.0 + z**2


def ends_at_one_half(z):
    # sqrt(z) + 1 = 2 (1 - lambda) has no solution for lambda > 1/2.
    return tf.sqrt(z) + 1.0


FAILURES = (
    ("MAX_NUM_STEPS", no_zero, 1.0, {"max_num_steps": 20}, "raise max_num_steps"),
    ("DIVERGED", no_zero, 1.0, {"max_distance": 5.0}, "no zero on this path"),
    ("STEP_UNDERFLOW", ends_at_one_half, 1.0, {}, "not be smooth or finite"),
    ("STEP_UNDERFLOW", ends_at_one_half, 1.0, {"min_step_length": 0.01}, "out of reach"),
    ("NON_FINITE", tf.math.log, -1.0, {}, "not finite at the initial point"),
    ("SINGULAR_START", no_zero, 0.0, {}, "homotopy='fixed_point'"),
)


@pytest.mark.parametrize("jacobian", JACOBIANS)
@pytest.mark.parametrize(("status", "residual", "start", "options", "message"), FAILURES)
def test_failures_have_a_status_and_raise(status, residual, start, options, message, jacobian):
    options = {"jacobian": jacobian, **options}
    path = homotopy.trace(residual, t([start]), on_failure="return", **options)
    assert path.status == PathStatus[status] and path.status < 0 and not path.success
    np.testing.assert_array_equal(path.state, path.states[-1])
    assert len(path.lambdas) == len(path.states) == len(path.arc_lengths)
    np.testing.assert_allclose(
        path.residual_norm, root_mean_square(residual(path.state)), rtol=1e-12
    )
    with pytest.raises(HomotopyError, match=message) as caught:
        homotopy.trace(residual, t([start]), **options)
    assert caught.value.status == path.status
    np.testing.assert_array_equal(caught.value.path.states, path.states)
    reached = f"Reached lambda {float(path.lambdas[-1]):.6g} after arc length"
    assert status in str(caught.value) and reached in str(caught.value)
    assert "on_failure='return'" in str(caught.value)


def test_a_failed_path_is_kept():
    path = homotopy.trace(no_zero, t([1.0]), max_distance=5.0, on_failure="return")
    # lambda = (1 - z^2) / 2 turns at z = 0.
    np.testing.assert_allclose(path.lambdas, (1.0 - path.states[:, 0] ** 2) / 2.0, atol=1e-7)
    assert 0.3 < max(path.lambdas) < 0.500001 and path.state[0] < -1.0
    path = homotopy.trace(ends_at_one_half, t([1.0]), on_failure="return")
    assert float(path.lambdas[-1]) == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"homotopy": "Newton"}, "homotopy must be one of newton, fixed_point, got 'Newton'"),
        ({"jacobian": "sparse"}, "jacobian must be one of auto, dense, .*, got 'sparse'"),
        ({"on_failure": "warn"}, "on_failure must be one of raise, return, got 'warn'"),
        ({"rtol": 0.0}, "rtol must be a positive finite number, or None, got 0.0"),
        ({"atol": -1e-3}, "atol must be a positive finite number, or None, got -0.001"),
        ({"max_num_steps": 1.5}, "max_num_steps must be a positive integer, got 1.5"),
        ({"max_distance": np.inf}, "max_distance must be a positive finite number, got inf"),
        ({"initial_step_length": 11.0}, "initial_step_length must lie between .* got 11.0 with"),
        ({"min_step_length": 0.2}, "initial_step_length must lie between .* 0.1 with 0.2 and 10.0"),
    ],
)
def test_refuses_arguments_that_have_no_meaning(options, message):
    with pytest.raises(ValueError, match=message):
        homotopy.trace(_rosenbrock, t([-1.2, 1.0]), **options)


@pytest.mark.parametrize("jacobian", JACOBIANS)
@pytest.mark.parametrize(
    ("residual", "start", "error", "message"),
    [
        (tf.abs, [1], TypeError, "initial_point must be float32 or float64, got int32"),
        (tf.abs, t([]), ValueError, r"initial_point must have elements, got shape \(0,\)"),
        (tf.abs, t([np.nan]), ValueError, "initial_point must be finite"),
        (
            lambda z: z[:1],
            t([1.0, 2.0]),
            ValueError,
            r"residual must return the shape of initial_point, \(2,\), got \(1,\)",
        ),
        (
            lambda z: tf.cast(z, tf.float32),
            t([1.0]),
            TypeError,
            "residual must return the dtype of initial_point, float64, got float32",
        ),
    ],
)
def test_refuses_points_and_residuals_that_do_not_fit(residual, start, error, message, jacobian):
    with pytest.raises(error, match=message):
        homotopy.trace(residual, start, jacobian=jacobian)


def test_must_run_eagerly():
    with pytest.raises(RuntimeError, match="must be called eagerly"):
        tf.function(lambda z: homotopy.trace(tf.atan, z).state)(t([3.0]))


def test_tolerances_mean_the_residual():
    for rtol, atol in [(1e-2, 1e-9), (1e-9, 1e-2), (1e-9, 1e-9)]:
        path = homotopy.trace(_rosenbrock, t([-1.2, 1.0]), rtol=rtol, atol=atol)
        limit = atol + rtol * root_mean_square(_rosenbrock(t([-1.2, 1.0])))
        assert path.residual_norm <= limit


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
