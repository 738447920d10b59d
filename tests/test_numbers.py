# SPDX-License-Identifier: Apache-2.0
"""Every setting that is a number takes those of Python and NumPy, and refuses what may change."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf import homotopy, layers, solvers
from homoode_tf.errors import InvalidValueError
from homoode_tf.models.classifier import ImageClassifier
from homoode_tf.models.head import Head
from homoode_tf.models.stem import Stem
from homoode_tf.solvers import fixed_point
from tests.layers.vector_fields import DenseDynamics

TOLERANCES = {"rtol": 0.5, "atol": 0.5}
OF_STEPS = {"max_num_steps": 9, "safety_factor": 0.5, "min_step_size_factor": 0.5}
OF_STEPS |= {"max_step_size_factor": 2.0, "adjoint_rtol": 0.5, "adjoint_atol": 0.5}
FIXED = [{"num_steps": 2}, {"step_size": 0.5}]
OF_PATH = {"max_num_steps": 9, "initial_step_length": 0.5, "min_step_length": 0.05}
OF_PATH |= {"max_step_length": 2.0, "max_distance": 2.0, **TOLERANCES}


def of(kind, *settings):
    return [(kind, {name: value}) for group in settings for name, value in group.items()]


def ode_layer(kind, *arguments):
    return lambda **options: kind(DenseDynamics(4), *arguments, **options)


def classifier(mean=0.5, std=0.5):
    return ImageClassifier(None, None, None, [mean], [std])


CASES = [
    *of(ode_layer(layers.NeuralODE), TOLERANCES, OF_STEPS, *FIXED, {"final_time": 2.0}),
    *of(ode_layer(layers.HomoODE), TOLERANCES, OF_STEPS, *FIXED, {"final_time": 2.0}),
    *of(ode_layer(layers.AugmentedNeuralODE, 1), TOLERANCES, OF_STEPS, {"final_time": 2.0}),
    *of(ode_layer(layers.AugmentedNeuralODE), {"extra_channels": 2}),
    *of(ode_layer(layers.DEQ), TOLERANCES, {"max_num_iterations": 9, "jacobian_weight": 0.5}),
    *of(lambda **options: solvers.get("dopri5", **options), TOLERANCES, OF_STEPS, *FIXED),
    *of(fixed_point.Anderson, TOLERANCES, {"memory": 3, "damping": 0.5, "max_num_iterations": 9}),
    *of(fixed_point.Damped, {"damping": 0.5}),
    *of(fixed_point.Broyden, {"memory": 3}),
    *of(fixed_point.NewtonKrylov, {"krylov_dimension": 3, "krylov_rtol": 0.5}),
    *of(layers.LearnedInitialPoint, {"loss_weight": 0.5}),
    *of(layers.RunningMeanInitialPoint, {"momentum": 0.5}),
    *of(layers.VariationalDropout, {"rate": 0.5}),
    *of(layers.GroupNormalization, {"groups": 2, "epsilon": 0.5}),
    *of(lambda filters=4, **options: layers.ConvDynamics(filters, **{"groups": 2, **options}),
        {"filters": 4, "groups": 2, "dropout_rate": 0.5}),
    *of(lambda channels=4, **options: Stem(channels, **options),
        {"channels": 4, "batch_norm_momentum": 0.5}),
    *of(lambda channels=4, num_classes=3, **o: Head(channels, num_classes, **{"groups": 2, **o}),
        {"channels": 4, "num_classes": 3, "groups": 2, "batch_norm_momentum": 0.5}),
    *of(classifier, {"mean": 0.5, "std": 0.5}),
    *of(lambda **options: homotopy.trace(lambda z: z, [0.0], **options), OF_PATH),
]  # fmt: skip
each_case = pytest.mark.parametrize(
    ("make", "setting"), CASES, ids=[f"{k}-{next(iter(s))}" for k, (_, s) in enumerate(CASES)]
)


@each_case
@pytest.mark.parametrize("kind", [tf.Variable, tf.constant, keras.Variable])
@pytest.mark.parametrize("graph", [False, True])
def test_a_number_that_may_change_is_refused(make, setting, kind, graph):
    ((name, value),) = setting.items()
    given = kind(value)
    with pytest.raises(InvalidValueError) as caught:
        (tf.function(make, autograph=False) if graph else make)(**{name: given})
    text = str(caught.value)
    assert text.startswith(f"{name} must be a") and "give a Python number" in text
    assert "\n" not in text


@each_case
def test_numbers_of_python_and_numpy_are_taken(make, setting):
    ((name, value),) = setting.items()
    kinds = (np.int32, np.int64) if isinstance(value, int) else (np.float32, np.float64)
    for kind in (type(value), *kinds):
        make(**{name: kind(value)})


def test_an_array_of_no_dimension_is_a_number():
    assert ode_layer(layers.NeuralODE)(final_time=np.array(2.0)).final_time == 2.0
