# SPDX-License-Identifier: Apache-2.0
"""What turns gradients into updates."""

from homoode_tf.training.optimizers.averaging import WeightAverage
from homoode_tf.training.optimizers.build import (
    build_initial_point_optimizer,
    build_task_optimizer,
)
from homoode_tf.training.optimizers.clipping import clip_to_global_norm, squared_norm
from homoode_tf.training.optimizers.loss_scale import LossScale
from homoode_tf.training.optimizers.muon import ConvMuon
from homoode_tf.training.optimizers.schedules import EveryPeriod, WarmupCosine

__all__ = [
    "ConvMuon",
    "EveryPeriod",
    "LossScale",
    "WarmupCosine",
    "WeightAverage",
    "build_initial_point_optimizer",
    "build_task_optimizer",
    "clip_to_global_norm",
    "squared_norm",
]
