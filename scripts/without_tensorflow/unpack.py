# SPDX-License-Identifier: Apache-2.0
"""Makes a run of what was trained elsewhere: checkpoint, metrics, evaluation, SavedModel.

    python -m scripts.without_tensorflow.unpack --config=configs/cifar10_best.py \
        --workdir=runs/cifar10_best --packed=packed

The flags are those with which it was packed; `--packed` holds trained.npz and metrics.json.
`train.py` with the same config then finds a run that is complete, or goes on where steps are left.
"""

import json
import pathlib

import numpy as np
from ml_collections import ConfigDict

from homoode_tf import training
from homoode_tf.training.files.checkpoints import Record
from homoode_tf.training.files.workdir import Workdir
from homoode_tf.training.run import Run
from homoode_tf.training.settings import TrainingSettings
from homoode_tf.training.watch.metrics import MetricsWriter
from scripts.without_tensorflow.pack import config_of, parser, variables_of


def unpack(
    config: ConfigDict, workdir: pathlib.Path, packed: pathlib.Path, data_dir: str | None = None
) -> dict[str, object] | None:
    """Writes a checkpoint of the last step made, unless the run itself is as far.

    Returns:
        The run's result, concluded if that step was the last of all; None where steps are left.

    Raises:
        NonFiniteError: If a step was not finite.
    """
    folder = Workdir(workdir)
    folder.open(config)
    settings = TrainingSettings.from_config(config)
    run = Run(settings, folder, data_dir, origins=folder.origins(config))
    total = run.milestones.total_steps
    with np.load(packed / "trained.npz") as trained, run.checkpoints:
        own = run.restore_or_initialise().step
        for name, variable in variables_of(run).items():
            variable.assign(trained[name])
        run.state.non_finite_steps.check()
        step = int(run.state.step.numpy())
        if own < step:
            lines = json.loads((packed / "metrics.json").read_text())
            folder.claim(config)
            folder.write_data(run.images.info)
            with MetricsWriter(folder.metrics, folder.events, 0) as metrics:
                # Where the run evaluates, as at its end, it writes that line with what it finds.
                for line in lines[:-1] if run.milestones.evaluates(step) else lines:
                    metrics.write(line["step"], {k: v for k, v in line.items() if k != "step"})
            run.checkpoints.save(Record(step, False, None, _clock(lines, step, run)))
    if max(own, step) < total:
        print(f"{workdir} holds step {max(own, step)} of {total}: train.py goes on from there")
        return None
    return training.train(config, workdir, data_dir)


def _clock(lines: list[dict[str, float]], step: int, run: Run) -> dict[str, float]:
    seconds = sum(line["seconds"] for line in lines)
    return {
        "seconds": seconds,
        "training_seconds": seconds,
        "training_examples": float(step * run.settings.batch_size),
    }


def main() -> None:
    """Unpacks what the command line says."""
    options = parser("Makes a run of what was trained where there is no TensorFlow.").parse_args()
    unpack(config_of(options), pathlib.Path(options.workdir), options.packed, options.data_dir)


if __name__ == "__main__":
    main()
