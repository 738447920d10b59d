# SPDX-License-Identifier: Apache-2.0
"""Every solver converges at its order, keeps its tolerance, and agrees with independent solvers."""

import json

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from homoode_tf import solvers
from homoode_tf.solvers.ode import tableaus
from tests import problems

TABLEAUS = [getattr(tableaus, n) for n in dir(tableaus) if n.isupper() and not n.startswith("_")]
TABLEAUS = [t for t in TABLEAUS if isinstance(t, tableaus.ButcherTableau)]
ADAPTIVE = [t.name for t in TABLEAUS if t.adaptive]
adaptive = pytest.mark.parametrize("name", ADAPTIVE)


def make(name, **options):
    """A solver of any name: fixed-step ones with 20 steps."""
    fixed = not name_to_tableau(name).adaptive
    return solvers.get(name, **({"num_steps": 20} | options if fixed else options))


def name_to_tableau(name):
    return next(t for t in TABLEAUS if t.name == name)


def test_all_tableaus_have_solvers():
    assert sorted(solvers.names()) == sorted(t.name for t in TABLEAUS)


@pytest.mark.parametrize("tableau", TABLEAUS, ids=lambda t: t.name)
@pytest.mark.parametrize("problem", [problems.OSCILLATOR, problems.CHIRP], ids=lambda p: p.name)
def test_order_of_convergence(tableau, problem):
    """The slope of log error over log step is the order, within 0.2."""
    counts = {1: (400, 800), 2: (80, 160), 3: (40, 80), 4: (40, 80), 5: (80, 160), 8: (12, 24)}

    @tf.function
    def solve():
        steps = [
            solvers.RungeKutta(tableau, num_steps=n).solve(
                problem.tf_field, 0.0, problem.tf_start, [problem.end]
            )
            for n in counts[tableau.order]
        ]
        return [s.states[-1] for s in steps], [s.diagnostics.num_ode_fn_evaluations for s in steps]

    states, evaluations = solve()
    errors = [np.linalg.norm(s - problem.reference()) for s in states]
    slope = np.log2(errors[0] / errors[1])
    assert slope == pytest.approx(tableau.order, abs=0.2)
    stages = tableau.num_stages - tableau.fsal
    assert [int(e) for e in evaluations] == [n * stages for n in counts[tableau.order]]


@adaptive
@pytest.mark.parametrize("problem", problems.HARD, ids=lambda p: p.name)
def test_within_1e_6_of_dop853_at_1e_12(name, problem):
    solver = solvers.get(name, rtol=1e-8, atol=1e-8, max_num_steps=1_000_000)
    # Second order takes tens of thousands of steps here; XLA makes them quick.
    solve = tf.function(
        lambda: solver.solve(problem.tf_field, 0.0, problem.tf_start, [problem.end]).states[-1],
        jit_compile=name == "heun_euler",
    )
    assert np.max(np.abs(solve() - problem.reference())) < 1e-6


@adaptive
@pytest.mark.parametrize(
    "problem",
    [problems.LOTKA_VOLTERRA, problems.VAN_DER_POL, problems.FORCED],
    ids=lambda p: p.name,
)
def test_error_stays_within_a_factor_of_ten_of_the_tolerance(name, problem):
    tolerances = {"lotka_volterra": [1e-3], "forced": [1e-9]}.get(problem.name, [1e-3, 1e-9])
    end = problem.end / 5
    reference = problem.reference(end)
    for tolerance in tolerances:
        solver = solvers.get(name, rtol=tolerance, atol=tolerance, max_num_steps=500_000)
        state = tf.function(
            lambda solver=solver: solver.solve(
                problem.tf_field, 0.0, problem.tf_start, [end]
            ).states[-1],
            jit_compile=name == "heun_euler",
        )()
        scale = tolerance * (1.0 + np.abs(reference))
        assert np.sqrt(np.mean(((state - reference) / scale) ** 2)) < 10.0


@pytest.mark.parametrize("name", solvers.names())
def test_states_between_are_as_accurate_as_the_last(name):
    problem = problems.VAN_DER_POL
    times = [0.0, 0.1, 0.11, 0.5, 1.3, 2.0]
    options = {"num_steps": 400} if not name_to_tableau(name).adaptive else {}
    tolerance = 1e-5 if name in ("euler", "midpoint", "heun", "heun_euler") else 1e-7
    solver = make(name, rtol=tolerance, atol=tolerance, **options)
    results = tf.function(lambda: solver.solve(problem.tf_field, 0.0, problem.tf_start, times))()
    expected = [problem.start, *(problem.reference(t) for t in times[1:])]
    np.testing.assert_allclose(results.times, times)
    limit = {"euler": 2e-2, "midpoint": 1e-4, "heun": 1e-4, "heun_euler": 1e-4}.get(name, 2e-6)
    assert np.max(np.abs(results.states - np.array(expected))) < limit


@pytest.mark.parametrize("other", [tfp.math.ode.DormandPrince, tfp.math.ode.BDF])
def test_agrees_with_tfp(other):
    problem = problems.FORCED
    times = [0.7, 2.0]
    theirs, ours = (
        tf.function(lambda s=s: s.solve(problem.tf_field, 0.0, problem.tf_start, times).states)()
        for s in (other(rtol=1e-7, atol=1e-7), solvers.get("dopri5", rtol=1e-7, atol=1e-7))
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@adaptive
def test_chosen_by_solver(name):
    problem = problems.FORCED
    solver = solvers.get(name, rtol=1e-5, atol=1e-5)
    results = tf.function(
        lambda: solver.solve(
            problem.tf_field, 0.0, problem.tf_start, tfp.math.ode.ChosenBySolver(2.0)
        )
    )()
    times = results.times.numpy()
    assert times[0] == 0.0 and times[-1] == 2.0 and np.all(np.diff(times) > 0.0)
    assert len(times) == int(results.diagnostics.num_accepted_steps) + 1
    expected = [problem.exact(t) for t in times]
    np.testing.assert_allclose(results.states, expected, atol=1e-4)


@pytest.mark.parametrize("name", solvers.names())
def test_nested_states(name):
    def field(t, z):
        return {"a": -z["b"][0], "b": (z["a"],)}

    start = {"a": tf.ones([2, 3], tf.float64), "b": (tf.zeros([2, 3], tf.float64),)}
    solver = make(name, num_steps=200) if not name_to_tableau(name).adaptive else make(name)
    states = tf.function(lambda: solver.solve(field, 0.0, start, [1.0]))().states
    limit = 1e-2
    np.testing.assert_allclose(states["a"], np.full([1, 2, 3], np.cos(1.0)), atol=limit)
    np.testing.assert_allclose(states["b"][0], np.full([1, 2, 3], np.sin(1.0)), atol=limit)


@pytest.mark.parametrize("step_control", ["batch", "sample"])
def test_complex_states(step_control):
    solver = solvers.get("tsit5", rtol=1e-8, atol=1e-8, step_control=step_control)
    start = tf.constant([[1.0 + 0.0j], [1.0j]], tf.complex128)
    states = solver.solve(lambda t, z: 1j * z, 0.0, start, [2.0]).states
    np.testing.assert_allclose(states[0], start * np.exp(2j), atol=1e-7)


@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16])
def test_low_precision_is_integrated_in_float32(dtype):
    seen = set()

    def field(t, z):
        seen.update([t.dtype, z.dtype])
        return -z

    z0 = tf.ones([3], dtype)
    with tf.GradientTape() as tape:
        tape.watch(z0)
        results = solvers.get("dopri5", rtol=1e-3, atol=1e-3).solve(field, 0.0, z0, [1.0])
    assert seen == {tf.float32, dtype}
    assert results.states.dtype == dtype
    np.testing.assert_allclose(tf.cast(results.states[0], tf.float32), np.exp(-1.0), rtol=1e-2)
    gradient = tf.cast(tape.gradient(results.states, z0), tf.float32)
    np.testing.assert_allclose(gradient, np.exp(-1.0), rtol=1e-2)


def test_time_and_state_have_the_state_s_real_dtype():
    seen = []
    solvers.get("euler", num_steps=1).solve(
        lambda t, z: seen.append((t.dtype, t.shape.rank)) or z, 0, tf.ones([], tf.float64), [1]
    )
    assert seen == [(tf.float64, 0)]


class TestCost:
    """Evaluations are counted truly, and none is wasted."""

    def counted(self, solver, **arguments):
        calls = []

        def field(t, z):
            calls.append(1)
            return -z

        results = solver.solve(field, 0.0, tf.ones([2], tf.float64), [1.0], **arguments)
        return results, len(calls)

    @pytest.mark.parametrize("step_control", ["batch", "sample"])
    @adaptive
    def test_counts_are_true(self, name, step_control):
        solver = solvers.get(name, rtol=1e-4, atol=1e-4, step_control=step_control)
        results, calls = self.counted(solver)
        assert int(results.diagnostics.num_ode_fn_evaluations) == calls

    def test_a_warm_started_solve_costs_seven_evaluations(self):
        solver = solvers.get("dopri5", rtol=1e-3, atol=1e-3)
        results, cold = self.counted(solver)
        state = solvers.SolverInternalState(results.diagnostics.first_step_size)
        results, _ = self.counted(solver, previous_solver_internal_state=state)
        state = solvers.SolverInternalState(results.diagnostics.first_step_size)
        results, warm = self.counted(solver, previous_solver_internal_state=state)
        assert warm == 7 < cold
        assert int(results.diagnostics.num_rejected_steps) == 0

    def test_a_step_size_of_zero_asks_for_the_usual_first_step(self):
        solver = solvers.get("dopri5", rtol=1e-3, atol=1e-3)
        zero = solvers.SolverInternalState(tf.Variable(0.0))
        _, usual = self.counted(solver)
        _, calls = self.counted(solver, previous_solver_internal_state=zero)
        assert calls == usual

    def test_first_step_size_may_be_a_variable(self):
        size = tf.Variable(1.0)
        solver = solvers.get("dopri5", rtol=1e-2, atol=1e-2, first_step_size=size)
        assert self.counted(solver)[1] == 7

    def test_the_suggestion_for_the_next_solve_is_not_cut_by_the_end(self):
        solver = solvers.get("dopri5", rtol=1e-3, atol=1e-3, first_step_size=0.5)
        results = solver.solve(lambda t, z: -z, 0.0, tf.ones([2]), [0.51 + 1e-3])
        assert float(results.solver_internal_state.step_size) > 0.5

    def test_fixed_steps_of_given_size(self):
        solver = solvers.get("rk4", step_size=0.3)
        results, calls = self.counted(solver)
        assert calls == 16  # 0.3, 0.3, 0.3 and 0.1
        np.testing.assert_allclose(results.states[0], np.exp(-1.0), atol=1e-3)

    def test_no_interpolation_without_times_between(self):
        solver = solvers.get("tsit5", rtol=1e-3, atol=1e-3)

        def operations(times):
            function = tf.function(lambda: solver.solve(lambda t, z: -z, 0.0, tf.ones(2), times))
            graph = function.get_concrete_function().graph.as_graph_def()
            return sum(n.op.startswith("TensorList") for n in graph.node)

        assert operations([1.0]) == 0 < operations([0.5, 1.0])


@adaptive
@pytest.mark.slow
def test_xla_agrees(name):
    problem = problems.VAN_DER_POL
    solver = solvers.get(name, rtol=1e-6, atol=1e-6)
    times = [0.5, 1.0]
    plain, compiled = (
        tf.function(
            lambda: solver.solve(problem.tf_field, 0.0, problem.tf_start, times).states,
            jit_compile=jit,
        )()
        for jit in (False, True)
    )
    np.testing.assert_allclose(plain, compiled, rtol=1e-7)


def test_tfp_s_solver_can_use_ours_for_its_adjoint():
    a = tf.Variable(0.7, dtype=tf.float64)
    ours = solvers.get("dopri5", rtol=1e-8, atol=1e-8)
    theirs = tfp.math.ode.DormandPrince(rtol=1e-8, atol=1e-8, make_adjoint_solver_fn=lambda: ours)

    @tf.function
    def gradient():
        with tf.GradientTape() as tape:
            state = theirs.solve(lambda t, z: a * z, 0.0, tf.ones([], tf.float64), [1.0]).states
        return tape.gradient(state, a)

    assert float(gradient()) == pytest.approx(np.exp(0.7), rel=1e-5)


class TestArguments:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"rtol": -1.0}, "rtol must be a number above 0, got -1.0"),
            ({"atol": 0.0}, "atol must be a number above 0, got 0.0"),
            ({"adjoint_rtol": "a"}, "adjoint_rtol must be a number above 0 or None"),
            ({"max_num_steps": 0}, "max_num_steps must be an integer at least 1, got 0"),
            ({"first_step_size": -0.1}, "first_step_size must be a number above 0"),
            ({"gradient": "exact"}, "gradient must be one of adjoint, checkpoint, backprop"),
            ({"step_control": "none"}, "step_control must be one of batch, sample, got 'none'"),
            ({"on_failure": "ignore"}, "on_failure must be one of raise, return"),
            ({"num_steps": 2.5}, "num_steps must be an integer at least 1 or None, got 2.5"),
            ({"num_steps": 2, "step_size": 0.1}, "num_steps and step_size exclude each other"),
            ({"num_steps": 2, "step_control": "sample"}, "step_control must be 'batch'"),
            ({"num_steps": 2, "first_step_size": 0.1}, "first_step_size has no meaning"),
        ],
    )
    def test_of_the_constructor(self, options, message):
        with pytest.raises(ValueError, match=message):
            solvers.get("dopri5", **options)

    def test_fixed_step_methods_need_a_step(self):
        with pytest.raises(ValueError, match="euler does not estimate its error"):
            solvers.get("euler")

    def test_unknown_names_and_options(self):
        with pytest.raises(ValueError, match="solver must be one of euler, .*got 'rk45'"):
            solvers.get("rk45")
        with pytest.raises(TypeError, match="tolerance"):
            solvers.get("dopri5", tolerance=1e-3)
        for wrong in ("bdf", tfp.math.ode.BDF):
            with pytest.raises(TypeError, match="adjoint_solver must be a tfp.math.ode.Solver"):
                solvers.get("dopri5", adjoint_solver=wrong)
        for name in ("adjoint_rtol", "adjoint_atol"):
            options = {name: 1e-3, "adjoint_solver": tfp.math.ode.BDF()}
            with pytest.raises(ValueError, match="no meaning beside bdf, which has tolerances"):
                solvers.get("dopri5", **options)

    @pytest.mark.parametrize("gradient", ["checkpoint", "backprop"])
    @pytest.mark.parametrize("name", ["adjoint_solver", "make_adjoint_solver_fn"])
    def test_an_adjoint_solver_beside_another_gradient(self, gradient, name):
        solver = tfp.math.ode.BDF()
        option = {name: (lambda: solver) if name.startswith("make") else solver}
        with pytest.raises(ValueError, match=f"no meaning beside gradient='{gradient}': set"):
            solvers.get("dopri5", gradient=gradient, **option)
        adjoint = solvers.get("dopri5", **option)
        with pytest.raises(ValueError, match="no meaning beside gradient"):
            adjoint.replace(gradient=gradient)
        # What was saved when it was only of no effect can still be read.
        saved = {**adjoint.get_config(), "gradient": gradient}
        assert solvers.RungeKutta.from_config(saved).settings.adjoint_solver is None

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"solution_times": [1.0, 0.5]}, ValueError, "must be finite and increase"),
            ({"solution_times": [-1.0, 1.0]}, ValueError, "from initial_time on, got"),
            ({"solution_times": [float("nan")]}, ValueError, "must be finite"),
            ({"initial_time": [0.0, 0.0]}, ValueError, "initial_time must be a scalar"),
            ({"solution_times": 1.0}, ValueError, "solution_times must have rank 1"),
            ({"initial_state": tf.ones([2], tf.int32)}, TypeError, "one floating or complex"),
            ({"batch_ndims": 1}, ValueError, "batch_ndims must be None or 0"),
            ({"ode_fn": lambda t, z: [z]}, ValueError, "the structure of initial_state"),
            ({"ode_fn": lambda t, z: z[0]}, ValueError, r"got \(\) for \(2,\)"),
        ],
    )
    def test_of_solve(self, arguments, error, message):
        usual = {
            "ode_fn": lambda t, z: -z,
            "initial_time": 0.0,
            "initial_state": tf.ones([2]),
            "solution_times": [1.0],
        }
        with pytest.raises(error, match=message):
            solvers.get("dopri5").solve(**(usual | arguments))

    @pytest.mark.parametrize(
        "adjoint_solver", [solvers.get("bosh3", atol=1e-5), tfp.math.ode.BDF(rtol=1e-5)]
    )
    def test_config_round_trip(self, adjoint_solver):
        options = {"rtol": 1e-4, "max_num_steps": 99, "adjoint_solver": adjoint_solver}
        config = json.dumps(solvers.get("tsit5", **options).get_config())
        again = solvers.RungeKutta(**json.loads(config))
        assert json.dumps(again.get_config()) == config
        assert isinstance(again.settings.adjoint_solver, type(adjoint_solver))
