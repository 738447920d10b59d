# SPDX-License-Identifier: Apache-2.0
"""Learning rates as functions of the step."""

import math

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="homoode_tf")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up to a peak, then half a cosine down to a final rate.

    With w warm-up steps of n in all, before update k = 0, 1, ..., n - 1 ::

        rate(k) = peak (k + 1) / w                                            for k < w
        rate(k) = final + (peak - final) (1 + cos(pi (k - w) / (n - w))) / 2  otherwise

    so the first update after the warm-up has the peak rate, and rate(n) would be the final one.

    Args:
        peak: Largest rate.
        final: Rate at the end.
        total_steps: n.
        warmup_fraction: w / n, in [0, 1); w is rounded.

    Raises:
        ValueError: If `total_steps` is below 1 or `warmup_fraction` outside [0, 1).

    Example:
        >>> schedule = WarmupCosine(1.0, 0.0, total_steps=100)
        >>> round(float(schedule(50)), 6)
        0.5
    """

    def __init__(self, peak: float, final: float, total_steps: int, warmup_fraction: float = 0.0):
        if total_steps < 1:
            raise ValueError(f"total_steps must be at least 1, got {total_steps!r}.")
        if not 0 <= warmup_fraction < 1:
            raise ValueError(f"warmup_fraction must be in [0, 1), got {warmup_fraction!r}.")
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
        return {
            "peak": self.peak,
            "final": self.final,
            "total_steps": self.total_steps,
            "warmup_fraction": self.warmup_fraction,
        }


@keras.saving.register_keras_serializable(package="homoode_tf")
class EveryPeriod(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule at every `period`-th update, and zero between.

    With plain SGD a rate of zero changes nothing, so the update needs no condition. A condition
    would put the reduction over replicas inside a `tf.cond`, which `tf.distribute` forbids.

    Args:
        schedule: The rate at updates k with (k + 1) a multiple of `period`.
        period: At least 1.

    Raises:
        ValueError: If `period` is below 1.

    Example:
        >>> schedule = EveryPeriod(WarmupCosine(1.0, 1.0, 10), period=2)
        >>> [float(schedule(k)) for k in range(4)]
        [0.0, 1.0, 0.0, 1.0]
    """

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule, period: int):
        if period < 1:
            raise ValueError(f"period must be at least 1, got {period!r}.")
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
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(schedule, config["period"])
