# SPDX-License-Identifier: Apache-2.0
"""The two optimisers of a run, as its config describes them: the task's, the initial point's."""

from collections.abc import Sequence
from typing import Any

import keras

from homoode_tf.training.optimizers.muon import ConvMuon
from homoode_tf.training.optimizers.schedules import EveryPeriod, WarmupCosine
from homoode_tf.training.settings import OptimizerSettings, TrainingSettings


def build_task_optimizer(
    settings: OptimizerSettings, total_steps: int, variables: Sequence[keras.Variable]
) -> keras.optimizers.Optimizer:
    """Builds the optimiser of the task's weights, with its slots.

    Clipping is not its business (see `clip_to_global_norm`).

    Args:
        settings: `config.optimizer`.
        total_steps: Steps of the whole run, over which the cosine falls.
        variables: The task's weights.

    Returns:
        A built Keras optimiser.
    """
    rate = WarmupCosine(
        settings.learning_rate, settings.final_learning_rate, total_steps, settings.warmup_fraction
    )
    decay = settings.weight_decay or None
    momentum: dict[str, Any] = {
        "momentum": settings.momentum,
        "nesterov": settings.nesterov,
        "weight_decay": decay,
    }
    if settings.name == "sgd":
        optimizer = keras.optimizers.SGD(rate, **momentum)
    elif settings.name == "muon":
        optimizer = ConvMuon(
            rate,
            **momentum,
            adam_weight_decay=decay,
            adam_lr_ratio=settings.adam_learning_rate / settings.learning_rate,
            adam_beta_1=settings.beta_1,
            adam_beta_2=settings.beta_2,
            epsilon=settings.epsilon,
        )
    else:
        # adam and adamw mean the same thing: Keras's Adam decouples its weight decay, too.
        betas = {"beta_1": settings.beta_1, "beta_2": settings.beta_2}
        optimizer = keras.optimizers.Adam(
            rate, weight_decay=decay, epsilon=settings.epsilon, **betas
        )
    if decay:
        # Scales and biases are few and their size has a meaning of its own: decay kernels only.
        optimizer.exclude_from_weight_decay([v for v in variables if len(v.shape) < 2])
    optimizer.build(list(variables))
    return optimizer


def build_initial_point_optimizer(
    settings: TrainingSettings, total_steps: int, variables: Sequence[keras.Variable]
) -> keras.optimizers.Optimizer | None:
    """Builds the initial point's plain SGD, active at every `period`-th step.

    Its rate falls by the same cosine and to the same share of its peak as the task's.

    Args:
        settings: The whole config.
        total_steps: Steps of the whole run.
        variables: The initial point's trainable variables.

    Returns:
        A built Keras optimiser, or None where there is nothing to train.
    """
    if not variables:
        return None
    peak, task = settings.initial_point.learning_rate, settings.optimizer
    final = peak * task.final_learning_rate / task.learning_rate
    cosine = WarmupCosine(peak, final, total_steps)
    optimizer = keras.optimizers.SGD(EveryPeriod(cosine, settings.initial_point.period))
    optimizer.build(list(variables))
    return optimizer
