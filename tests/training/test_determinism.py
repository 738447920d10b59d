# SPDX-License-Identifier: Apache-2.0
"""The same bits from the same input, where TensorFlow's own switch does not give them."""

import subprocess
import sys

import pytest
import tensorflow as tf

from homoode_tf.training import determinism

# Two of the three addends have another use, which may or may not be over when they are added.
# With op determinism alone about one call in a hundred rounds otherwise.
_RACE = """
import tensorflow as tf
from homoode_tf.training import determinism

determinism.enable()
tf.random.set_seed(0)
factors = [tf.random.normal([200, 200]) for _ in range(3)]

@tf.function
def add():
    a, b, c = (tf.matmul(factor, factor) for factor in factors)
    others = tf.reduce_sum(tf.sin(a)) + tf.reduce_sum(tf.cos(b))
    return tf.add_n([a, b, c]), others

print(len({add()[0].numpy().tobytes() for _ in range(1000)}))
"""


@pytest.mark.slow
def test_the_order_of_a_sum_is_not_left_to_a_race():
    outcome = subprocess.run(
        [sys.executable, "-c", _RACE], capture_output=True, text=True, check=True, timeout=300
    )
    assert outcome.stdout.strip() == "1"


def test_enabling_it_too_late_is_an_error():
    tf.constant(0.0)
    with pytest.raises(RuntimeError, match="must come before"):
        determinism.enable()
