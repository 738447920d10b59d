# SPDX-License-Identifier: Apache-2.0
"""What `config.jit_compile` can do, and what it costs on a CPU."""

from typing import Any

import tensorflow as tf
from absl import logging

from homoode_tf.errors import InvalidValueError
from homoode_tf.models.settings import ModelSettings
from homoode_tf.solvers.ode.settings import LARGEST_FIXED_ARRAY


def check(model: Any, settings: ModelSettings, strategy: tf.distribute.Strategy) -> None:
    """Checks that XLA can compile a model's training step; warns where that does not pay.

    Args:
        model: A classifier as `homoode_tf.models.build` makes it.
        settings: `config.model`, which made it.
        strategy: The run's distribution strategy.

    Raises:
        InvalidValueError: If XLA cannot; the message says what to change.
    """
    if not getattr(model.implicit, "supports_jit", True):
        raise InvalidValueError(
            "config.jit_compile cannot be True with "
            f"config.model.gradient={settings.gradient} and config.model.solver="
            f"{settings.solver} in up to {settings.max_num_steps} steps: XLA reserves the "
            "memory of them all at once. Set config.model.max_num_steps to what the solver may "
            f"need, 16 say, and at most {LARGEST_FIXED_ARRAY}, or config.model.gradient to adjoint."
        )
    if settings.synchronized_batch_norm and strategy.num_replicas_in_sync > 1:
        raise InvalidValueError(
            "config.jit_compile cannot be True with config.model.synchronized_batch_norm=True on "
            f"{strategy.num_replicas_in_sync} replicas: they exchange moments in the midst of what "
            "XLA would compile. Set one of the two to False."
        )
    if any("CPU" in device.upper() for device in strategy.extended.worker_devices):
        # A step of the CIFAR-10 model with batches of 8 took 4.3 s instead of 0.13
        # (`benchmarks.device_step`, two cores).
        logging.warning(
            "config.jit_compile=True makes training slower on a CPU, about 30 times with the "
            "CIFAR-10 model: XLA has no fast derivative of a convolution there."
        )
