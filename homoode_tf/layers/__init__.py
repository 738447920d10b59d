# SPDX-License-Identifier: Apache-2.0
"""Keras layers: implicit layers and the parts they are made of."""

from homoode_tf.layers.conv_dynamics import ConvDynamics
from homoode_tf.layers.group_norm import GroupNormalization
from homoode_tf.layers.homoode import HomoODE
from homoode_tf.layers.initial_point import (
    AlternatingInitialPoint,
    InitialPoint,
    LearnedInitialPoint,
    RunningMeanInitialPoint,
    ZerosInitialPoint,
)
from homoode_tf.layers.ode_layer import ODELayer
from homoode_tf.layers.variational_dropout import VariationalDropout

__all__ = [
    "AlternatingInitialPoint",
    "ConvDynamics",
    "GroupNormalization",
    "HomoODE",
    "InitialPoint",
    "LearnedInitialPoint",
    "ODELayer",
    "RunningMeanInitialPoint",
    "VariationalDropout",
    "ZerosInitialPoint",
]
