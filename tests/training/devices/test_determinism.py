# SPDX-License-Identifier: Apache-2.0
"""The same bits from the same input, where TensorFlow's own switch does not give them."""

import subprocess
import sys

import pytest

# Of three addends two have another use, which may or may not be over when they are added. With
# op determinism alone one call in about a hundred rounds otherwise.
_RACES = """
import tensorflow as tf
from homoode_tf.training.devices import determinism

determinism.enable()
tf.random.set_seed(0)
factors = [tf.random.normal([200, 200]) for _ in range(3)]

def products_and_other_uses():
    a, b, c = (tf.matmul(factor, factor) for factor in factors)
    return (a, b, c), tf.reduce_sum(tf.sin(a)) + tf.reduce_sum(tf.cos(b))

@tf.function
def add_n():
    products, others = products_and_other_uses()
    return tf.add_n(products), others

@tf.function
def plus():
    (a, b, c), others = products_and_other_uses()
    return a + b + c, others

@tf.custom_gradient
def multiply(x, factor):
    def gradient(upstream):
        product = tf.matmul(factor, factor) * upstream
        return product, product
    return tf.reduce_sum(x), gradient

@tf.function
def gradient():
    x = tf.zeros([200, 200])
    with tf.GradientTape() as tape:
        tape.watch([x, *factors])
        total = tf.add_n([multiply(x, factor) for factor in factors])
    of_x, *of_factors = tape.gradient(total, [x, *factors])
    return of_x, tf.add_n([tf.reduce_sum(tf.sin(g)) for g in of_factors[:2]])

for function in (add_n, plus, gradient):
    print(len({function()[0].numpy().tobytes() for _ in range(600)}))
"""


@pytest.mark.slow
def test_the_order_of_a_sum_is_not_left_to_a_race():
    outcome = subprocess.run(
        [sys.executable, "-c", _RACES], capture_output=True, text=True, timeout=300
    )
    assert (outcome.stdout.split(), outcome.returncode) == (["1"] * 3, 0), outcome.stderr
