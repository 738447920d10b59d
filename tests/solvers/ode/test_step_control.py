# SPDX-License-Identifier: Apache-2.0
"""The error norm means what rtol and atol say; the controller steers towards it."""

import numpy as np
import pytest
import tensorflow as tf

from homoode_tf.solvers.ode.clock import Clock
from homoode_tf.solvers.ode.error_control import (
    BatchErrorControl,
    SampleErrorControl,
    stretched_step_size,
)
from homoode_tf.solvers.ode.pi_controller import PIController


def t(value):
    return tf.constant(value, tf.float64)


def control(rtol, atol, cls=BatchErrorControl):
    return cls(rtol, atol, PIController(error_order=4))


def clock(end):
    return Clock(start=t(0.0), end=t(end), direction=1.0, targets=t([end]), span=t(end))


def test_error_ratio_is_the_root_mean_square_over_the_whole_state():
    rng = np.random.RandomState(0)
    shapes = [(2, 3), (2,)]
    errors, before, after = ([rng.randn(*s) for s in shapes] for _ in range(3))
    tensors = [[t(e) for e in errors]], [t(y) for y in before], [t(y) for y in after]
    ratio = control(0.1, 0.01).error_ratio(*tensors)
    scaled = [
        e / (0.01 + 0.1 * np.maximum(abs(y0), abs(y1)))
        for e, y0, y1 in zip(errors, before, after, strict=True)
    ]
    values = np.concatenate([s.ravel() for s in scaled])
    assert float(ratio) == pytest.approx(np.sqrt(np.mean(values**2)), rel=1e-12)
    by_sample = control(0.1, 0.01, SampleErrorControl).error_ratio(*tensors)
    expected = [np.sqrt(np.mean(np.append(scaled[0][i], scaled[1][i]) ** 2)) for i in range(2)]
    np.testing.assert_allclose(by_sample, expected, rtol=1e-12)


def test_complex_errors_count_by_their_size():
    error = [tf.constant([3e-3 + 4e-3j], tf.complex128)]
    zero = [tf.constant([0j], tf.complex128)]
    assert float(control(0.1, 1e-3).error_ratio([error], zero, zero)) == pytest.approx(5.0)


def test_initial_step_agrees_with_scipy():
    from scipy.integrate._ivp.common import select_initial_step

    def field(time, y):
        return np.array([y[1], -5.0 * y[0] + np.sin(time)])

    start = np.array([1.0, 0.5])
    expected = select_initial_step(
        field, 0.0, start, 3.0, np.inf, field(0.0, start), 1.0, 4, 1e-4, 1e-5
    )
    step = control(1e-4, 1e-5).initial_step_size(
        lambda time, y: [tf.stack([y[0][1], -5.0 * y[0][0] + tf.sin(time)])],
        clock(3.0),
        [t(start)],
        [t(field(0.0, start))],
    )
    assert float(step) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("span", [1e-3, 1.0])
def test_initial_step_stays_within_the_interval(span):
    still = [t([1.0])]
    step = control(1e-3, 1e-3).initial_step_size(
        lambda time, y: [tf.zeros_like(y[0])],
        clock(span),
        still,
        [t([0.0])],
    )
    assert 0.0 < float(step) <= span


class TestPIController:
    controller = PIController(error_order=4)

    def factor(self, ratio, previous=1.0, after_rejection=False):
        return float(self.controller.factor(t(ratio), t(previous), tf.constant(after_rejection)))

    def test_shrinks_after_large_and_grows_after_small_errors(self):
        factors = [self.factor(r) for r in (1e-12, 1e-3, 0.5, 0.99, 2.0, 1e9)]
        assert factors == sorted(factors, reverse=True)
        assert factors[0] == 10.0 and factors[-1] == 0.2
        assert factors[3] < 1.0

    def test_a_rejected_step_is_expected_to_pass_the_next_time(self):
        # The error is of order h^5.
        assert 7.0 * self.factor(7.0) ** 5 < 1.0

    def test_never_grows_right_after_a_rejection(self):
        assert self.factor(1e-6, after_rejection=True) == 1.0

    @pytest.mark.parametrize("ratio", [np.nan, np.inf])
    def test_shrinks_most_after_a_step_that_is_not_finite(self, ratio):
        assert self.factor(ratio) == 0.2

    def test_the_cut_at_the_end_does_not_shorten_the_suggestion(self):
        propose = lambda *x: float(self.controller.propose(*map(t, x)))  # noqa: E731
        assert propose(0.5, 1e-3, 10.0) == 0.5
        assert propose(0.5, 0.2, 10.0) == 2.0
        assert propose(0.5, 0.4, 1.1) == pytest.approx(0.44)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"safety": 1.5}, "safety_factor must be a number above 0 and below 1, got 1.5"),
            (
                {"min_factor": 0.0},
                "min_step_size_factor must be a number above 0 and below 1, got 0.0",
            ),
            ({"max_factor": 1.0}, "max_step_size_factor must be a number above 1, got 1.0"),
        ],
    )
    def test_refuses_impossible_factors(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            PIController(error_order=4, **arguments)


@pytest.mark.parametrize(
    ("step_size", "remaining", "length", "last"),
    [
        (1.0, 0.4, 0.4, True),  # no further than the end
        (1.0, 1.05, 1.05, True),  # stretched over the end
        (1.0, 1.5, 1.0, False),  # two steps, whichever way
        (1.0, 2.1, 1.05, False),  # two stretched steps instead of three
        (1.0, 3.2, 3.2 / 3, False),
        (1.0, 10.5, 1.0, False),  # too far from the end to plan
        (1.0, 0.0, 0.0, True),
    ],
)
def test_steps_are_stretched_where_that_saves_one(step_size, remaining, length, last):
    result = stretched_step_size(tf.constant(step_size), tf.constant(remaining))
    assert float(result[0]) == pytest.approx(length) and bool(result[1]) == last
