# SPDX-License-Identifier: Apache-2.0
"""Learning rates as functions of the step."""

import math

import keras
import tensorflow as tf

from homoode_tf.checks import check_integer, check_number


@keras.saving.register_keras_serializable(package="homoode_tf")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up to a peak, then half a cosine down to a final rate.

    With w warm-up steps of n in all, before update k = 0, 1, ..., n - 1 ::

        rate(k) = peak (k + 1) / w                                            for k < w
        rate(k) = final + (peak - final) (1 + cos(pi (k - w) / (n - w))) / 2  otherwise

    so the first update after the warm-up has the peak rate, and rate(n) would be the final one.

    Keras's `CosineDecay` is the same for w = 0 but for rounding, and another function otherwise:
    its warm-up begins with an update at rate 0, and one that began higher would have to reach the
    peak one update earlier and let the cosine begin there. Runs resumed from older checkpoints
    also want the rate bit for bit.

    Args:
        peak: Largest rate.
        final: Rate at the end.
        total_steps: n.
        warmup_fraction: w / n, in [0, 1); w is rounded.

    Raises:
        InvalidValueError: If `total_steps` is below 1 or `warmup_fraction` outside [0, 1).

    Example:
        >>> schedule = WarmupCosine(1.0, 0.0, total_steps=100)
        >>> round(float(schedule(50)), 6)
        0.5
    """

    def __init__(self, peak: float, final: float, total_steps: int, warmup_fraction: float = 0.0):
        check_integer("total_steps", total_steps, at_least=1)
        check_number("warmup_fraction", warmup_fraction, at_least=0, below=1)
        self.peak = float(peak)
        self.final = float(final)
        self.total_steps = int(total_steps)
        self.warmup_fraction = float(warmup_fraction)

    def __call__(self, step):
        step = tf.cast(step, tf.float32)
        warmup_steps = min(round(self.warmup_fraction * self.total_steps), self.total_steps - 1)
        progress = (step - warmup_steps) / (self.total_steps - warmup_steps)
        progress = tf.clip_by_value(progress, 0.0, 1.0)
        cosine = 0.5 * (1.0 + tf.cos(math.pi * progress))
        rate = self.final + (self.peak - self.final) * cosine
        if warmup_steps == 0:
            return rate
        return tf.where(step < warmup_steps, self.peak * (step + 1.0) / warmup_steps, rate)

    def get_config(self):
        names = ("peak", "final", "total_steps", "warmup_fraction")
        return {name: getattr(self, name) for name in names}


@keras.saving.register_keras_serializable(package="homoode_tf")
class EveryPeriod(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule at every `period`-th update, and zero between.

    With plain SGD a rate of zero changes nothing, so the update needs no condition. A condition
    would put the reduction over replicas inside a `tf.cond`, which `tf.distribute` forbids.

    Args:
        schedule: The rate at updates k with (k + 1) a multiple of `period`.
        period: At least 1.

    Raises:
        InvalidValueError: If `period` is below 1.

    Example:
        >>> schedule = EveryPeriod(WarmupCosine(1.0, 1.0, 10), period=2)
        >>> [float(schedule(k)) for k in range(4)]
        [0.0, 1.0, 0.0, 1.0]
    """

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule, period: int):
        check_integer("period", period, at_least=1)
        self.schedule = schedule
        self.period = int(period)

    def __call__(self, step):
        due = tf.equal((tf.cast(step, tf.int64) + 1) % self.period, 0)
        return tf.where(due, self.schedule(step), 0.0)

    def get_config(self):
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "period": self.period,
        }

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["period"])
