# SPDX-License-Identifier: Apache-2.0
"""Every gradient mode against finite differences, against the others, and in every surrounding."""

import keras
import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf import solvers
from homoode_tf.layers import AugmentedNeuralODE, HomoODE, NeuralODE
from tests import slow
from tests.layers.vector_fields import LinearDynamics

MODES = ("adjoint", "checkpoint", "backprop")
modes = pytest.mark.parametrize("mode", MODES)


class Example:
    """A small nonlinear field that uses its time, a variable, and a constant."""

    def __init__(self):
        rng = np.random.RandomState(3)
        self.weights = tf.Variable(0.5 * rng.randn(3, 3))
        self.inputs = {
            "state": rng.randn(4, 3),
            "constant": rng.randn(4, 3),
            "weights": self.weights.numpy(),
            "start": np.array(0.1),
            "end": np.array(1.3),
        }
        self.target = tf.constant(rng.randn(4, 3))

    def field(self, t, z, x):
        time = t if t.shape.rank == 0 else t[:, tf.newaxis]
        return tf.tanh(z @ self.weights) * tf.cos(2.0 * time) + x

    def loss(self, solver, state, constant, start, end, several, **arguments):
        times = [0.4 * end, 0.7 * end, end] if several else [end]
        results = solver.solve(
            self.field, start, state, times, constants={"x": constant}, **arguments
        )
        scale = tf.range(1.0, len(times) + 1.0)
        losses = tf.reduce_sum((results.states - self.target) ** 2, [1, 2])
        return tf.reduce_sum(losses * tf.cast(scale, tf.float64)), results

    def gradients(self, solver, several, jit_compile=False):
        names = list(self.inputs)

        @tf.function(jit_compile=jit_compile)
        def compute(state, constant, start, end):
            with tf.GradientTape() as tape:
                tape.watch([state, constant, start, end])
                loss, _ = self.loss(solver, state, constant, start, end, several)
            return tape.gradient(loss, [state, constant, self.weights, start, end])

        tensors = {k: tf.constant(v) for k, v in self.inputs.items() if k != "weights"}
        values = compute(**tensors)
        return dict(zip(names, (v.numpy() for v in values), strict=True))

    def finite_differences(self, solver, several):
        """One directional derivative for each input, by central differences of fourth order."""
        loss = tf.function(lambda **inputs: self.loss(solver, several=several, **inputs)[0])
        rng = np.random.RandomState(4)
        result = {}
        for name, value in self.inputs.items():
            direction = rng.randn(*value.shape) if value.shape else np.array(1.0)

            def at(step, name=name, value=value, direction=direction):
                inputs = self.inputs | {name: value + step * direction}
                self.weights.assign(inputs["weights"])
                tensors = {k: tf.constant(v) for k, v in inputs.items() if k != "weights"}
                return float(loss(**tensors))

            h = 1e-3
            slope = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h)
            result[name] = (direction, slope)
        self.weights.assign(self.inputs["weights"])
        return result


def distance(ours, theirs):
    return {k: np.linalg.norm(ours[k] - theirs[k]) / np.linalg.norm(theirs[k]) for k in theirs}


@pytest.fixture(scope="module")
def expected():
    """Finite differences of a solution at tolerance 1e-12, whose steps do not matter."""
    solver = solvers.get("dop853", rtol=1e-12, atol=1e-12)
    return {several: Example().finite_differences(solver, several) for several in (False, True)}


@pytest.fixture(scope="module")
def exact():
    """Gradients at tolerance 1e-12, by one time or by several."""
    solver = solvers.get("dop853", rtol=1e-12, atol=1e-12)
    return {several: Example().gradients(solver, several) for several in (False, True)}


@modes
@pytest.mark.parametrize(
    ("name", "step_control", "several"),
    [
        ("dopri5", "batch", False),
        slow("tsit5", "batch", True),
        slow("dopri5", "sample", True),
        slow("dop853", "batch", True),
    ],
)
def test_against_finite_differences(name, mode, step_control, several, expected):
    """By initial state, constants, variables, initial time and solution times alike."""
    solver = solvers.get(
        name, rtol=1e-8, atol=1e-8, gradient=mode, step_control=step_control, max_num_steps=500
    )
    gradients = Example().gradients(solver, several)
    for key, (direction, slope) in expected[several].items():
        # Inner times are differentiated through the interpolation, which loses an order.
        limit = 1e-4 if key == "end" and several else 1e-5
        assert np.sum(direction * gradients[key]) == pytest.approx(slope, rel=limit), key


@pytest.mark.parametrize("mode", ["checkpoint", "backprop"])
@pytest.mark.parametrize(
    ("options", "several"),
    [
        ({"name": "euler", "num_steps": 6}, False),
        ({"name": "rk4", "num_steps": 6}, True),
        ({"name": "dopri5", "step_size": 0.25}, False),
    ],
)
def test_coarse_fixed_steps(options, several, mode):
    """The discrete derivatives are those of the steps taken, however coarse these are."""
    solver = solvers.get(gradient=mode, **options)
    example = Example()
    gradients = example.gradients(solver, several)
    for key, (direction, slope) in example.finite_differences(solver, several).items():
        # The cubic between two steps is only once differentiable, and differences may straddle it.
        limit = 1e-3 if several and key in ("start", "end") else 1e-8
        assert np.sum(direction * gradients[key]) == pytest.approx(slope, rel=limit), key


@pytest.mark.parametrize(
    ("name", "step_control", "several"),
    [
        ("heun_euler", "batch", False),
        ("bosh3", "batch", True),
        slow("dopri5", "batch", True),
        slow("dopri5", "sample", True),
        slow("dop853", "batch", True),
    ],
)
def test_checkpoint_equals_backprop(name, several, step_control):
    # A large first step, so that some steps are rejected.
    options = {"rtol": 1e-4, "atol": 1e-4, "first_step_size": 1.2, "step_control": step_control}
    ours, theirs = (
        Example().gradients(solvers.get(name, gradient=mode, **options), several)
        for mode in ("checkpoint", "backprop")
    )
    assert max(distance(ours, theirs).values()) < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("step_control", ["batch", "sample"])
def test_adjoint_approaches_as_the_tolerance_shrinks(step_control, exact):
    errors = []
    for tolerance in (1e-4, 1e-6, 1e-8):
        solver = solvers.get("bosh3", rtol=tolerance, atol=tolerance, step_control=step_control)
        errors.append(max(distance(Example().gradients(solver, True), exact[True]).values()))
    assert errors[2] < errors[1] < errors[0]
    assert errors[1] < 1e-4


def test_the_adjoint_does_not_depend_on_the_scale_of_the_loss():
    """A small loss must not slip under the absolute tolerance."""
    solver = solvers.get("dopri5", rtol=1e-4, atol=1e-4)

    def gradient(scale):
        z0 = tf.constant([1.0, 2.0], tf.float64)
        with tf.GradientTape() as tape:
            tape.watch(z0)
            states = solver.solve(lambda t, z: tf.sin(5.0 * z), 0.0, z0, [1.0]).states
            loss = scale * tf.reduce_sum(states)
        return tape.gradient(loss, z0) / scale

    np.testing.assert_allclose(gradient(1e-8), gradient(1.0), rtol=1e-9)


@pytest.mark.slow
def test_adjoint_of_its_own_tolerance_or_solver(exact):
    loose = {"rtol": 1e-8, "atol": 1e-8, "adjoint_rtol": 1e-1, "adjoint_atol": 1e-1}
    variants = {
        "loose": solvers.get("dopri5", **loose),
        "tight": solvers.get("dopri5", rtol=1e-8, atol=1e-8),
        "other": solvers.get(
            "dopri5", rtol=1e-8, atol=1e-8, adjoint_solver=solvers.get("rk4", num_steps=100)
        ),
    }
    errors = {
        key: max(distance(Example().gradients(solver, False), exact[False]).values())
        for key, solver in variants.items()
    }
    assert errors["tight"] < 1e-6 and errors["other"] < 1e-6 < errors["loose"]


TIGHT = {"rtol": 1e-7, "atol": 1e-7}
FOREIGN = [tfp.math.ode.DormandPrince(**TIGHT), tfp.math.ode.BDF(**TIGHT)]


def test_an_adjoint_solver_as_tfp_asks_for_it():
    """Made by a function, called by names, with a state to begin with."""

    class Strict(tfp.math.ode.Solver):
        def __init__(self):
            super().__init__(None, False, "Strict")

        def _initialize_solver_internal_state(self, **kwargs):
            return tfp.math.ode.DormandPrince(**TIGHT)._initialize_solver_internal_state(**kwargs)

        def _solve(self, **kwargs):
            assert kwargs["previous_solver_internal_state"] is not None
            return tfp.math.ode.DormandPrince(**TIGHT)._solve(**kwargs)

    solver = solvers.get("dopri5", make_adjoint_solver_fn=Strict, **TIGHT)
    start = tf.constant([0.5], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(start)
        end = solver.solve(lambda t, z: z**2, 0.0, start, [1.0]).states[0]
    np.testing.assert_allclose(tape.gradient(end, start), [4.0], rtol=1e-5)


@pytest.mark.parametrize(
    ("foreign", "step_control", "times"),
    [
        slow(FOREIGN[0], "batch", [0.0, 0.5, 1.0]),
        (FOREIGN[0], "sample", [-0.5, -1.0]),
        slow(FOREIGN[1], "batch", [-0.5, -1.0]),
        slow(FOREIGN[1], "sample", [0.0, 0.5, 1.0]),
    ],
    ids=["dopri-batch", "dopri-sample-back", "bdf-batch-back", "bdf-sample"],
)
def test_the_adjoint_by_any_solver(foreign, step_control, times):
    """z' = a z + b in two components: z(t) = e^(at) (z0 + b / a) - b / a."""
    solver = solvers.get("dopri5", adjoint_solver=foreign, step_control=step_control, **TIGHT)
    a, b = tf.Variable(0.7, dtype=tf.float64), tf.constant(0.3, tf.float64)
    state = (tf.constant([[1.0, 2.0], [3.0, 4.0]], tf.float64), tf.ones([2], tf.float64))
    reported = tf.Variable(0)

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            tape.watch([*state, b])
            states = solver.solve(
                lambda t, z, b: tf.nest.map_structure(lambda y: a * y + b, z),
                *(0.0, state, times),
                constants={"b": b},
                on_backward=reported.assign,
            ).states
            loss = tf.reduce_sum(states[0]) + 2.0 * tf.reduce_sum(states[1])
        return tape.gradient(loss, [*state, b, a])

    by_first, by_second, by_b, by_a = gradients()
    t = np.array(times)
    growth = np.exp(0.7 * t)
    np.testing.assert_allclose(by_first, np.full([2, 2], growth.sum()), rtol=1e-5)
    np.testing.assert_allclose(by_second, np.full([2], 2.0 * growth.sum()), rtol=1e-5)
    # Four entries of weight one, and two of weight two: the initial values add up to 14.
    np.testing.assert_allclose(by_b, 8.0 * ((growth - 1.0) / 0.7).sum(), rtol=1e-5)
    slope = t * growth * (14.0 + 8.0 * 0.3 / 0.7) - 8.0 * 0.3 / 0.49 * (growth - 1.0)
    np.testing.assert_allclose(by_a, slope.sum(), rtol=1e-5)
    assert int(reported) > 0


@pytest.mark.parametrize(
    ("foreign", "kind"),
    [(FOREIGN[0], NeuralODE), (FOREIGN[1], AugmentedNeuralODE), *map(slow, FOREIGN, [HomoODE] * 2)],
)
def test_the_adjoint_of_a_layer_by_any_solver(foreign, kind):
    """z' = z K, so that z(1) = z0 e^K; with HomoODE z' = r z + x from 0."""
    options = {"adjoint_solver": foreign, "gradient": "adjoint", "dtype": "float64", **TIGHT}
    kernel = np.array([[0.3, -0.5], [0.4, 0.1]])
    dense = keras.layers.Dense(
        2, use_bias=False, kernel_initializer=lambda *_, **__: kernel, dtype="float64"
    )
    layer = {
        NeuralODE: lambda: NeuralODE(dense, **options),
        AugmentedNeuralODE: lambda: AugmentedNeuralODE(dense, extra_channels=1, **options),
        HomoODE: lambda: HomoODE(
            LinearDynamics(0.7, dtype="float64"), initial_point="zeros", **options
        ),
    }[kind]()
    x = tf.constant([[0.8, -1.1]] if kind is not AugmentedNeuralODE else [[0.8]], tf.float64)
    layer.build(x.shape)
    upstream = np.array([[1.0, 2.0]])

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(upstream * layer(x, training=True))
        return tape.gradient(loss, [x, layer.dynamics.trainable_weights[0].value])

    by_x, by_weight = gradients()
    if kind is HomoODE:
        factor, slope = (np.exp(0.7) - 1.0) / 0.7, (0.7 * np.exp(0.7) - np.exp(0.7) + 1.0) / 0.49
        expected = factor * upstream, slope * np.sum(upstream * x)
    else:
        start = np.pad(x, [[0, 0], [0, 2 - x.shape[1]]])
        expected = (
            (upstream @ scipy.linalg.expm(kernel).T)[:, : x.shape[1]],
            scipy.linalg.expm_frechet(kernel.T, start.T @ upstream, compute_expm=False),
        )
    np.testing.assert_allclose(by_x, expected[0], rtol=1e-5)
    np.testing.assert_allclose(by_weight, expected[1], rtol=1e-5)
    assert int(layer.backward_nfe) > 0


def test_a_foreign_solver_that_does_not_arrive_is_an_error():
    short = tfp.math.ode.BDF(max_num_steps=3)
    layer = NeuralODE(keras.layers.Dense(2), short)
    with pytest.raises(tf.errors.InvalidArgumentError, match="bdf did not reach the final time"):
        layer(tf.ones([1, 2]))
    layer = NeuralODE(keras.layers.Dense(2), adjoint_solver=short, gradient="adjoint")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.ones([1, 2])))
    with pytest.raises(tf.errors.InvalidArgumentError, match="bdf did not reach the final time"):
        tape.gradient(loss, layer.trainable_variables)


@pytest.mark.parametrize("name", solvers.names())
def test_exponential(name):
    """z' = a z: dz(1)/dz(0) = e^a. A gradient that never integrates its adjoint gives 1."""
    # The third way differentiates the same steps as the second.
    modes = MODES if name in ("rk4", "bosh3") else MODES[:2]
    fixed = name in ("euler", "midpoint", "heun", "rk4")
    options = {"num_steps": 1000} if fixed else {"rtol": 1e-6, "atol": 1e-6}

    @tf.function
    def gradients(z0):
        result = []
        for mode in modes:
            solver = solvers.get(name, gradient=mode, **options)
            with tf.GradientTape() as tape:
                tape.watch(z0)
                state = solver.solve(lambda t, z: 1.5 * z, 0.0, z0, [1.0]).states
            result.append(tape.gradient(state, z0))
        return result

    limit = 2e-3 if name == "euler" else 1e-4
    expected = pytest.approx(np.exp(1.5), rel=limit)
    assert all(float(g) == expected for g in gradients(tf.constant(0.7, tf.float64)))


@modes
def test_chosen_by_solver(mode):
    solver = solvers.get("tsit5", rtol=1e-7, atol=1e-7, gradient=mode)
    a = tf.Variable(0.8, dtype=tf.float64)
    end = tf.constant(1.0, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(end)
        times = tfp.math.ode.ChosenBySolver(end)
        state = solver.solve(lambda t, z: a * z, 0.0, tf.ones([], tf.float64), times).states[-1]
    by_a, by_end = tape.gradient(state, [a, end])
    assert float(by_a) == pytest.approx(np.exp(0.8), rel=1e-5)
    assert float(by_end) == pytest.approx(0.8 * np.exp(0.8), rel=1e-5)


@modes
def test_a_rejected_step_that_is_not_finite_does_no_harm(mode):
    """The first trial leaves the domain of the square root: NaN, rejected, and gone."""
    solver = solvers.get("dopri5", rtol=1e-5, atol=1e-5, gradient=mode, first_step_size=0.09)

    @tf.function
    def solve(z0):
        with tf.GradientTape() as tape:
            tape.watch(z0)
            results = solver.solve(lambda t, z: -20.0 * tf.sqrt(z), 0.0, z0, [0.09])
        return tape.gradient(results.states, z0), results.diagnostics.num_rejected_steps

    gradient, rejected = solve(tf.constant(1.0, tf.float64))
    assert int(rejected) >= 1
    # z(t) = (sqrt(z0) - 10 t)^2
    assert float(gradient) == pytest.approx(0.1, rel=1e-2)


@modes
def test_number_of_backward_evaluations(mode):
    counts = []
    solver = solvers.get("dopri5", rtol=1e-3, atol=1e-3, gradient=mode, first_step_size=1.0)
    z0 = tf.ones([2])
    with tf.GradientTape() as tape:
        tape.watch(z0)
        state = solver.solve(lambda t, z: -z, 0.0, z0, [1.0], on_backward=counts.append).states
    assert not counts
    tape.gradient(state, z0)
    assert [int(c) for c in counts] == [{"adjoint": 7, "checkpoint": 6, "backprop": 6}[mode]]


@pytest.mark.parametrize("mode", ["checkpoint", "backprop"])
def test_nothing_is_differentiated_in_vain(mode):
    """The slope at the end of a single step serves the error estimate alone."""
    derivatives = []

    @tf.custom_gradient
    def counted(z):
        def grad(cotangent):
            return tf.numpy_function(
                lambda g: derivatives.append(0) or g, [cotangent], cotangent.dtype
            )

        return tf.identity(z), grad

    solver = solvers.get("dopri5", first_step_size=1.0, gradient=mode)

    @tf.function
    def compute(z0):
        with tf.GradientTape() as tape:
            tape.watch(z0)
            results = solver.solve(lambda t, z: -0.01 * counted(z), 0.0, z0, [1.0])
        return tape.gradient(results.states, z0), results.diagnostics.num_ode_fn_evaluations

    _, evaluations = compute(tf.ones([3], tf.float64))
    assert (int(evaluations), len(derivatives)) == (7, 6)


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
@modes
def test_second_derivatives(mode, graph):
    """z' = -z^2: z(1) = z0 / (1 + z0), so d2z/dz0^2 = -2 / (1 + z0)^3."""
    solver = solvers.get("bosh3", rtol=1e-5, atol=1e-5, gradient=mode)

    def second(z0):
        with tf.GradientTape() as outer:
            outer.watch(z0)
            with tf.GradientTape() as inner:
                inner.watch(z0)
                state = solver.solve(lambda t, z: -z * z, 0.0, z0, [1.0]).states
            first = inner.gradient(state, z0)
        return outer.gradient(first, z0)

    second = tf.function(second) if graph else second
    z0 = tf.constant(0.5, tf.float64)
    if mode == "backprop":
        assert float(second(z0)) == pytest.approx(-2.0 / 1.5**3, rel=1e-3)
    else:
        with pytest.raises(NotImplementedError, match="no second derivatives; use gradient='backp"):
            second(z0)


@pytest.mark.parametrize("mode", ["adjoint", "checkpoint"])
def test_complex_states_have_no_gradients(mode):
    solver = solvers.get("dopri5", gradient=mode)
    z0 = tf.ones([], tf.complex128)
    with tf.GradientTape() as tape:
        tape.watch(z0)
        state = solver.solve(lambda t, z: 1j * z, 0.0, z0, [1.0]).states
    with pytest.raises(NotImplementedError, match="needs a real state, got dtype complex128"):
        tape.gradient(state, z0)


@modes
def test_constants_need_not_be_differentiable(mode):
    solver = solvers.get("dopri5", gradient=mode, rtol=1e-6, atol=1e-6)
    constants = {"mask": tf.constant([True, False]), "rate": [tf.constant(0.5, tf.float64)]}

    def field(t, z, mask, rate):
        return tf.where(mask, rate[0] * z, tf.zeros_like(z))

    with tf.GradientTape() as tape:
        tape.watch(constants["rate"])
        z0 = tf.ones([2], tf.float64)
        state = solver.solve(field, 0.0, z0, [1.0], constants=constants).states
    gradient = tape.gradient(state, constants["rate"])[0]
    assert float(gradient) == pytest.approx(np.exp(0.5), rel=1e-4)


@pytest.mark.parametrize(
    ("mode", "step_control"),
    [(mode, "batch") for mode in MODES] + [("adjoint", "sample")],
)
@pytest.mark.slow
def test_xla(mode, step_control):
    solver = solvers.get(
        "heun_euler",
        rtol=1e-2,
        atol=1e-2,
        gradient=mode,
        step_control=step_control,
        max_num_steps=30,
    )
    plain, compiled = (Example().gradients(solver, True, jit) for jit in (False, True))
    assert max(distance(compiled, plain).values()) < 1e-7


class Flow(keras.layers.Layer):
    def __init__(self, mode, **kwargs):
        super().__init__(**kwargs)
        self.solver = solvers.get("heun_euler", rtol=1e-3, atol=1e-3, gradient=mode)
        self.dense = keras.layers.Dense(4, activation="tanh")

    def call(self, x):
        return self.solver.solve(
            lambda t, z, x: self.dense(z) + x, 0.0, tf.zeros_like(x), [1.0], constants={"x": x}
        ).states[-1]


@pytest.mark.parametrize("mode", [slow("adjoint"), *MODES[1:]])
def test_inside_keras(mode, tmp_path):
    """fit in a graph and eagerly gives the same weights, and the model can be exported."""
    x = np.random.RandomState(0).randn(16, 4).astype("float32")
    weights = []
    for eager in (False, True):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input([4]), Flow(mode), keras.layers.Dense(1)])
        model.compile("sgd", "mse", run_eagerly=eager, jit_compile=False)
        model.fit(x, x.sum(1), batch_size=16, epochs=2, verbose=0)
        weights.append(model.get_weights())
    for graph, eager in zip(*weights, strict=True):
        np.testing.assert_allclose(graph, eager, rtol=1e-4, atol=1e-6)
    model.export(tmp_path / "model", verbose=False)
    restored = tf.saved_model.load(tmp_path / "model")
    np.testing.assert_allclose(restored.serve(x), model(x), atol=1e-6)


@modes
def test_inside_a_replica(mode):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        a = tf.Variable(0.7)
    solver = solvers.get("dopri5", rtol=1e-5, atol=1e-5, gradient=mode)

    @tf.function
    def step():
        def replica():
            with tf.GradientTape() as tape:
                state = solver.solve(lambda t, z: a * z, 0.0, tf.ones([]), [1.0]).states[-1]
            return tape.gradient(state, a)

        return strategy.run(replica)

    for gradient in strategy.experimental_local_results(step()):
        assert float(gradient) == pytest.approx(np.exp(0.7), rel=1e-3)


@modes
def test_by_sample_a_mate_s_loss_changes_no_gradient(mode):
    """Losses of size 1, 1e-4 and 1e-8 side by side: each gradient as if it were alone."""
    solver = solvers.get("dopri5", rtol=1e-5, atol=1e-5, gradient=mode, step_control="sample")
    z0 = tf.constant([[1.0, 2.0], [0.5, -1.0], [0.1, 0.7]], tf.float64)
    scales = tf.constant([[1.0], [1e-4], [1e-8]], tf.float64)
    weight = tf.Variable(2.0, dtype=tf.float64)

    @tf.function
    def gradients(scales, rows):
        with tf.GradientTape() as tape:
            state = tf.gather(z0, rows)
            tape.watch(state)
            field = lambda t, z: tf.sin(weight * z)  # noqa: E731
            states = solver.solve(field, 0.0, state, [0.4, 1.0]).states
            loss = tf.reduce_sum(tf.gather(scales, rows) * states)
        return tape.gradient(loss, [state, weight])

    together, by_weight = gradients(scales, tf.range(3))
    alone = [gradients(scales, tf.constant([row])) for row in range(3)]
    tolerance = 1e-3 if mode == "adjoint" else 1e-9
    for row in range(3):
        np.testing.assert_allclose(together[row], alone[row][0][0], rtol=tolerance)
    total = sum(float(found[1]) for found in alone)
    assert float(by_weight) == pytest.approx(total, rel=tolerance)
