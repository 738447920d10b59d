# SPDX-License-Identifier: Apache-2.0
"""What a solve carries from step to step."""

from typing import Any, NamedTuple

import tensorflow as tf

from homoode_tf.solvers.ode.flat import Tensors
from homoode_tf.solvers.ode.step_control import ControlState

Arrays = list[tf.TensorArray]


class Kept(NamedTuple):
    """The states kept so far; `index` is the number of solution times reached."""

    index: tf.Tensor
    arrays: Arrays


class Carry(NamedTuple):
    """What goes from step to step.

    `time` is that of the solve's clock; `slope` is empty where it is not known at the step's start.
    """

    time: tf.Tensor
    state: Tensors
    slope: Tensors
    integrals: Tensors
    control: ControlState
    kept: Kept
    record: Any  # a Record, or () where none is kept
    iteration: tf.Tensor
