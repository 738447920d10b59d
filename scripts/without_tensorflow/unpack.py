# SPDX-License-Identifier: Apache-2.0
"""Makes a run of what was trained elsewhere: checkpoint, metrics, evaluation, SavedModel.

    python -m scripts.without_tensorflow.unpack --config=configs/cifar10_best.py \
        --workdir=runs/cifar10_best --packed=packed

The flags are those with which it was packed; `--packed` holds trained.npz and metrics.json of the
last step. `train.py` with the same config then finds a run that is complete.
"""

import json
import pathlib

import numpy as np
from ml_collections import ConfigDict

from homoode_tf import training
from homoode_tf.errors import InvalidValueError
from homoode_tf.training.files.checkpoints import Record
from homoode_tf.training.files.workdir import Workdir
from homoode_tf.training.run import Run
from homoode_tf.training.settings import TrainingSettings
from homoode_tf.training.watch.metrics import MetricsWriter
from scripts.without_tensorflow.pack import config_of, parser, variables_of


def unpack(
    config: ConfigDict, workdir: pathlib.Path, packed: pathlib.Path, data_dir: str | None = None
) -> dict[str, object]:
    """Writes the checkpoint of the last step and concludes the run; returns its result.

    Raises:
        InvalidValueError: If the steps were not all made.
        NonFiniteError: If one was not finite.
    """
    folder = Workdir(workdir)
    folder.open(config)
    settings = TrainingSettings.from_config(config)
    run = Run(settings, folder, data_dir, origins=folder.origins(config))
    with np.load(packed / "trained.npz") as trained:
        for name, variable in variables_of(run).items():
            variable.assign(trained[name])
    run.state.non_finite_steps.check()
    step, total = int(run.state.step.numpy()), run.milestones.total_steps
    if step != total:
        raise InvalidValueError(f"{packed} holds step {step} of {total}: train it to its end")
    lines = json.loads((packed / "metrics.json").read_text())
    seconds = sum(line["seconds"] for line in lines)
    clock = {
        "seconds": seconds,
        "training_seconds": seconds,
        "training_examples": float(step * run.settings.batch_size),
    }
    folder.claim(config)
    folder.write_data(run.images.info)
    with MetricsWriter(folder.metrics, folder.events, 0) as metrics:
        for line in lines[:-1]:  # the last is written with its evaluation
            metrics.write(line["step"], {k: v for k, v in line.items() if k != "step"})
    with run.checkpoints:
        run.checkpoints.save(Record(step, False, None, clock))
    return training.train(config, workdir, data_dir)


def main() -> None:
    """Unpacks what the command line says."""
    options = parser("Makes a run of what was trained where there is no TensorFlow.").parse_args()
    unpack(config_of(options), pathlib.Path(options.workdir), options.packed, options.data_dir)


if __name__ == "__main__":
    main()
