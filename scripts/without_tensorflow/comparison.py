# SPDX-License-Identifier: Apache-2.0
"""Packs every run of a comparison, and makes runs of those that were trained elsewhere.

    python -m scripts.without_tensorflow.comparison --config=configs/compare_long.py:cifar10 \
        --workdir=runs/compare_long_cifar10 --packed=packed
    python scripts/without_tensorflow/train.py packed/*/* --images images.npz
    python -m scripts.without_tensorflow.comparison --config=configs/compare_long.py:cifar10 \
        --workdir=runs/compare_long_cifar10 --packed=packed --back

A run's folder is `packed/MODEL/seedN`. Runs that differ in their seed alone are traced once.
`homoode_tf.compare` with the same config and workdir then trains what is left, the last steps of a
run, too, and reports.
"""

import json
import os
import pathlib
import shutil
import tempfile

import keras
import numpy as np

from homoode_tf.compare import Experiment, Member
from homoode_tf.report.compare.experiment import select
from homoode_tf.training.files.workdir import Workdir
from homoode_tf.training.run import Run
from homoode_tf.training.settings import TrainingSettings
from scripts.without_tensorflow import pack, unpack


def pack_member(
    member: Member,
    packed: pathlib.Path,
    data_dir: str | os.PathLike | None = None,
    traced: pathlib.Path | None = None,
) -> None:
    """Packs a run of a comparison, without its images.

    Args:
        member: The run.
        packed: The folder to write.
        data_dir: Of the TFDS data sets.
        traced: The packed run of the same model with another seed, whose modules serve again.
    """
    keras.utils.clear_session()  # as in a process of its own: Keras counts up its names
    with tempfile.TemporaryDirectory() as workdir:
        run = Run(TrainingSettings.from_config(member.config), Workdir(workdir), data_dir)
        if traced is None:
            pack.pack(run, packed, with_images=False)
        else:
            _pack_like(run, packed, traced)
    print(f"{run.in_words()}: packed in {packed}", flush=True)


def _pack_like(run: Run, packed: pathlib.Path, traced: pathlib.Path) -> None:
    """Packs a run whose modules are those of another, but for the seed."""
    run.restore_or_initialise()
    packed.mkdir(parents=True, exist_ok=True)
    for module in traced.glob("*.mlirbc"):
        shutil.copy(module, packed)
    variables = {name: v.numpy() for name, v in pack.variables_of(run).items()}
    np.savez(packed / "variables.npz", **variables)
    plan = json.loads((traced / "plan.json").read_text())
    plan |= {"seed": run.settings.seed}
    plan |= {part: run.images.arrays(part)[-1].tolist() for part in ("train", "validation")}
    (packed / "plan.json").write_text(json.dumps(plan))


def main() -> None:
    """Packs or unpacks what the command line says."""
    arguments = pack.parser("Packs a comparison for a machine with JAX and without TensorFlow.")
    arguments.add_argument("--models", nargs="+", help="some of the models; default: all")
    arguments.add_argument("--back", action="store_true", help="make runs of what was trained")
    options = arguments.parse_args()
    config = pack.config_of(options)
    if options.models:
        config = select(config, options.models)
    experiment = Experiment(config, options.workdir, options.data_dir)
    traced: dict[str, pathlib.Path] = {}
    for member in experiment.members:
        packed = options.packed / member.model / f"seed{member.seed}"
        if not options.back:
            pack_member(member, packed, options.data_dir, traced.get(member.model))
            traced.setdefault(member.model, packed)
        elif not member.is_complete and (packed / "trained.npz").exists():
            unpack.unpack(member.config, member.workdir, packed, options.data_dir)


if __name__ == "__main__":
    main()
