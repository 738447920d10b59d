# SPDX-License-Identifier: Apache-2.0
import keras
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf.training.optimizers.averaging import WeightAverage


@pytest.mark.parametrize("start", [0, 3])
def test_average_is_the_closed_form(start):
    momentum, values = 0.8, np.random.default_rng(0).normal(size=8)
    variable = keras.Variable(values[0])
    average = WeightAverage([variable], momentum, start)
    for step in range(1, 8):
        variable.assign(values[step])
        average.update(tf.constant(step, tf.int64))
    after = np.arange(start + 1, 8)
    expected = momentum ** (7 - start) * values[start]
    expected += (1 - momentum) * np.sum(momentum ** (7 - after) * values[after])
    np.testing.assert_allclose(average.averages[0].numpy(), expected, rtol=1e-6)


def test_until_the_start_the_average_is_the_variable():
    variable = keras.Variable(1.0)
    average = WeightAverage([variable], 0.9, start_step=2)
    for step, value in ((1, 5.0), (2, 7.0)):
        variable.assign(value)
        average.update(tf.constant(step, tf.int64))
        assert float(average.averages[0]) == value


def test_exchanging_twice_changes_nothing():
    variables = [keras.Variable(1.0), keras.Variable([2.0, 3.0])]
    average = WeightAverage(variables, 0.5)
    variables[0].assign(9.0)
    average.exchange()
    assert float(variables[0].numpy()) == 1.0
    assert float(average.averages[0]) == 9.0
    average.exchange()
    assert float(variables[0].numpy()) == 9.0
    np.testing.assert_array_equal(variables[1].numpy(), [2.0, 3.0])
