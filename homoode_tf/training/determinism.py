# SPDX-License-Identifier: Apache-2.0
"""Two runs that are equal bit for bit."""

import tensorflow as tf


def enable() -> None:
    """Makes TensorFlow compute the same bits whenever it is given the same.

    TensorFlow's own switch is not enough on a CPU: its `AddN`, which sums the gradients of a
    tensor with several uses, begins with an input whose buffer no one else needs any more. With
    three inputs and operations that run side by side, the race between them decides in which
    order is summed; about one training step in some thousands rounded otherwise (TensorFlow
    2.21). One operation at a time, each still on all cores, has no such race.

    Raises:
        RuntimeError: If TensorFlow has computed something before, in this process.

    Example:
        >>> determinism.enable()
        >>> training.train(config, "runs/digits")
    """
    try:
        tf.config.threading.set_inter_op_parallelism_threads(1)
    except RuntimeError as error:
        raise RuntimeError(
            "TensorFlow has already computed something in this process, with operations that may "
            "run side by side; determinism.enable() must come before."
        ) from error
    tf.config.experimental.enable_op_determinism()
