# SPDX-License-Identifier: Apache-2.0
"""How evaluations and the residual at the end of the solve change over a training."""

import os
from typing import Any

import ml_collections
import numpy as np

from homoode_tf.layers import ODELayer
from homoode_tf.plot import History
from homoode_tf.training.files.workdir import Workdir
from homoode_tf.training.trained_run import restore_best
from scripts.stability import fields

_IMAGES = 32


def over_training(folder: str | os.PathLike, data_dir: str | None) -> dict[str, Any]:
    """What a run's metrics and its kept checkpoints tell.

    Returns:
        "evaluations", in a forward pass, with the "steps" at which they were logged; "residuals",
        medians over test images of rms F(z(T)), or rms(g(z) - z) of a deq, with the
        "residual_steps" of the checkpoints: all that `config.keep_checkpoints` left.
    """
    workdir = Workdir(folder)
    evaluations = History.read(workdir.metrics).series("nfe_forward")
    config = ml_collections.ConfigDict(workdir.read_config()).lock()
    run, _ = restore_best(config, workdir, data_dir, "one_device")
    images, _ = next(iter(run.images.evaluation_batches("test", _IMAGES)))
    is_map = not isinstance(run.model.implicit, ODELayer)
    steps, residuals = [], []
    for record in run.checkpoints.each():
        with run.state.averaged_weights():
            *_, (field, state) = fields.along_the_way(run.model, images, (1.0,))
            residuals.append(float(np.median(fields.residual(field, state, is_map))))
        steps.append(record.step)
    return {
        "steps": evaluations.steps.tolist(),
        "evaluations": evaluations.values.tolist(),
        "residual_steps": steps,
        "residuals": residuals,
    }
