# SPDX-License-Identifier: Apache-2.0
"""Training, evaluating and exporting classifiers over `tf.distribute`."""

from homoode_tf.training.loop import train
from homoode_tf.training.trained_run import evaluate, export

__all__ = ["evaluate", "export", "train"]
