# SPDX-License-Identifier: Apache-2.0
"""That all members of the family evaluate F equally often, and how their memory is reported."""

import pytest
import tensorflow as tf

from benchmarks import family_memory, memory_growth, reference_model
from benchmarks.peers import tensorflow_peer

_EVALUATIONS = 8


@pytest.mark.parametrize("name", family_memory.MEMBERS)
def test_evaluations_are_those_asked_for(name):
    layer = tensorflow_peer.make_implicit(family_memory.MEMBERS[name].spec(_EVALUATIONS))
    condition = tf.random.stateless_normal([2, 4, 4, reference_model.CHANNELS], seed=[1, 2])
    with tf.GradientTape() as tape:
        tape.watch(condition)
        loss = tf.reduce_sum(tf.square(layer(condition, training=True)))
    gradient = tape.gradient(loss, condition)
    assert tf.reduce_any(gradient != 0.0)
    counted = [int(layer.forward_nfe), int(layer.backward_nfe)]
    family_memory.check_evaluations(name, [_EVALUATIONS], [counted])


def test_other_evaluations_are_an_error():
    with pytest.raises(RuntimeError, match=r"to evaluate F \[8, 8\] times .* did \[8, 7\]"):
        family_memory.check_evaluations("HomoODE, adjoint", [4, 8], [[4, 4], [8, 7]])


@pytest.mark.parametrize(
    ("name", "evaluations"),
    [("HomoODE, backprop", 6), ("HomoODE, backprop", 0), ("DEQ (Anderson), phantom", 5)],
)
def test_evaluations_that_no_number_of_steps_makes_are_refused(name, evaluations):
    with pytest.raises(ValueError, match="evaluations must be"):
        family_memory.MEMBERS[name].spec(evaluations)


def test_growth():
    assert memory_growth.growth([4, 8, 12], [100.0, 130.0, 140.0], 2.5) == 2.0
    assert str(memory_growth.growth([16, 256], [140.0, 139.5], 1.0)) == "0.0"
    assert memory_growth.growth([4], [100.0], 2.5) is None
    assert memory_growth.state_mib(16) == 1.0


def test_report():
    results = {
        "machine": {"command": "python -m benchmarks.family_memory"},
        "batch_size": 16,
        "evaluations": [8, 16],
        "state_mib": 1.0,
        "peak_mib": {name: [100.0, 180.0] for name in family_memory.MEMBERS},
    }
    lines = family_memory.report(results).splitlines()
    cells = [cell.strip() for cell in lines[-1].strip("|").split("|")]
    assert cells == ["DEQ (Anderson), Jacobian-free", "100", "180", "10", "1", "1"]
    assert len(lines) == 6 + len(family_memory.MEMBERS)
