# SPDX-License-Identifier: Apache-2.0
"""Keras layers: implicit layers and the parts they are made of."""

from homoode_tf.layers.augmented_neural_ode import AugmentedNeuralODE
from homoode_tf.layers.batch_norm import BatchNormalization
from homoode_tf.layers.conv_dynamics import ConvDynamics
from homoode_tf.layers.dense_dynamics import DenseDynamics
from homoode_tf.layers.deq import DEQ
from homoode_tf.layers.given_dynamics import FunctionDynamics
from homoode_tf.layers.group_norm import GroupNormalization
from homoode_tf.layers.homoode import HomoODE
from homoode_tf.layers.implicit_layer import ImplicitLayer
from homoode_tf.layers.initial_point import (
    AlternatingInitialPoint,
    InitialPoint,
    InputInitialPoint,
    LearnedInitialPoint,
    RunningMeanInitialPoint,
    ZerosInitialPoint,
)
from homoode_tf.layers.neural_ode import NeuralODE
from homoode_tf.layers.ode_layer import ODELayer
from homoode_tf.layers.timed_conv_dynamics import TimedConvDynamics
from homoode_tf.layers.variational_dropout import VariationalDropout

__all__ = [
    "DEQ",
    "AlternatingInitialPoint",
    "AugmentedNeuralODE",
    "BatchNormalization",
    "ConvDynamics",
    "DenseDynamics",
    "FunctionDynamics",
    "GroupNormalization",
    "HomoODE",
    "ImplicitLayer",
    "InitialPoint",
    "InputInitialPoint",
    "LearnedInitialPoint",
    "NeuralODE",
    "ODELayer",
    "RunningMeanInitialPoint",
    "TimedConvDynamics",
    "VariationalDropout",
    "ZerosInitialPoint",
]
