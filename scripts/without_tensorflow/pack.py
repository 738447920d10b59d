# SPDX-License-Identifier: Apache-2.0
"""Packs a run that has not begun: its step and its evaluation as StableHLO, variables, images.

    python -m scripts.without_tensorflow.pack --config=configs/cifar10_best.py \
        --workdir=runs/cifar10_best --packed=packed

The folder that it writes holds

- step.mlirbc: images (uint8), labels (int64) and variables -> variables, as StableHLO bytecode;
- logits.mlirbc: images and variables -> logits;
- variables.npz: every variable as the run begins, by the names of its checkpoints;
- plan.json: what each module takes and returns, and how often the step is made;
- images.npz, unless `--no_images`: the images and labels of the data set's train split, which
  validation is a part of.
"""

import argparse
import dataclasses
import json
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from homoode_tf import command_line
from homoode_tf.errors import InvalidValueError
from homoode_tf.training.files.workdir import Workdir, WorkdirError
from homoode_tf.training.optimizers import WeightAverage
from homoode_tf.training.run import Run
from homoode_tf.training.settings import TrainingSettings
from homoode_tf.training.step import make_train_step
from homoode_tf.training.watch.metric_sums import FIELDS

_EVALUATED_AT_A_TIME = 500
# In the first line of an HLO module: which output is the new value of which input.
_UPDATE = re.compile(r"\{(\d+)\}: \((\d+), \{\}")


def pack(run: Run, packed: pathlib.Path, with_images: bool = True) -> None:
    """Writes a run that has not begun into a folder.

    Args:
        run: On one device.
        packed: The folder.
        with_images: Whether to write the images, too.

    Raises:
        InvalidValueError: If the settings ask for what is not packed.
        WorkdirError: If the run has begun.
    """
    _check(run)
    if run.restore_or_initialise().step:
        raise WorkdirError(f"{run.workdir.directory} has begun: give another workdir")
    packed.mkdir(parents=True, exist_ok=True)
    variables = variables_of(run)
    np.savez(packed / "variables.npz", **{name: v.numpy() for name, v in variables.items()})
    images, labels, indices = run.images.arrays("train")
    if with_images:
        np.savez(packed / "images.npz", images=images.numpy(), labels=labels.numpy())
    settings, shape = run.settings, run.images.info.image_shape
    step = make_train_step(run.state, settings).python_function
    batch = [
        tf.TensorSpec((settings.batch_size, *shape), tf.uint8),
        tf.TensorSpec((settings.batch_size,), tf.int64),
    ]
    some = [tf.TensorSpec((_EVALUATED_AT_A_TIME, *shape), tf.uint8)]
    plan = {
        "step": _write(lambda *images: step(iter([images])), batch, variables, packed / "step"),
        "logits": _write(
            lambda images: run.model(images, training=False), some, variables, packed / "logits"
        ),
        "averages": _averages(run.state.average, variables),
        "counts": {"step": "counter_0000", "sums": ["counter_0001", "counter_0002"]},
        "metrics": FIELDS,
        "batch_size": settings.batch_size,
        "evaluated_at_a_time": _EVALUATED_AT_A_TIME,
        "steps_per_epoch": run.milestones.steps_per_epoch,
        "total_steps": run.milestones.total_steps,
        "seed": settings.seed,
        **{name: getattr(settings.augmentation, name) for name in _AUGMENTED},
        "train": indices.tolist(),
        "validation": run.images.arrays("validation")[-1].tolist(),
    }
    (packed / "plan.json").write_text(json.dumps(plan))


_AUGMENTED = ("crop_padding", "flip_probability", "cutout")


def _check(run: Run) -> None:
    settings = run.settings
    others = dataclasses.replace(settings.augmentation, **dict.fromkeys(_AUGMENTED, 0))
    if run.state.may_skip or run.milestones.early_steps or not others.is_identity:
        raise InvalidValueError(
            "what is packed has no config.non_finite=skip, no config.precision=mixed_float16, no "
            "config.early_solver, and of config.augmentation crop_padding, flip_probability and "
            "cutout alone."
        )


def variables_of(run: Run) -> dict[str, tf.Variable]:
    """Returns every variable that a run's step reads or writes, by name."""
    counts = run.state.non_finite_steps
    others = {"first_bad_step": counts.first_bad_step, "skipped": counts.skipped}
    return run.state.variables() | others


def _averages(
    average: WeightAverage | None, variables: Mapping[str, tf.Variable]
) -> dict[str, str]:
    """Returns for each averaged variable of the model its name, and that of its average."""
    if average is None:
        return {}
    names = {id(variable): name for name, variable in variables.items()}
    pairs = zip(average.variables, average.averages, strict=True)
    return {names[id(variable)]: names[id(mean)] for variable, mean in pairs}


def _write(
    function: Callable, inputs: list[tf.TensorSpec], variables: Mapping[str, Any], path: Any
) -> dict[str, Any]:
    """Writes a function's StableHLO; returns its variables, those it changes, and its results."""
    compiled = tf.function(function, autograph=False, jit_compile=True)
    traced = compiled.get_concrete_function(*inputs)
    names = {id(variable.handle): name for name, variable in variables.items()}
    taken = [names[id(captured)] for captured in traced.captured_inputs]
    lowered = compiled.experimental_get_compiler_ir(*inputs)
    path.with_suffix(".mlirbc").write_bytes(lowered(stage="stablehlo_serialized"))
    header = lowered(stage="hlo").partition("\n")[0]
    updates = sorted((int(result), int(taking)) for result, taking in _UPDATE.findall(header))
    # The changed variables are the results after the function's own.
    first = len(traced.outputs)
    assert [result for result, _ in updates] == [*range(first, first + len(updates))], header
    changed = [taken[taking - len(inputs)] for _, taking in updates]
    results = [*traced.outputs, *(variables[name] for name in changed)]
    return {
        "variables": taken,
        "changed": changed,
        "results": [[value.shape.as_list(), value.dtype.name] for value in results],
    }


def parser(description: str) -> argparse.ArgumentParser:
    """Returns the arguments that packing and unpacking share."""
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--config", required=True, help="the recipe")
    arguments.add_argument("--workdir", required=True, help="the run's folder")
    arguments.add_argument("--packed", required=True, type=pathlib.Path, help="what travels")
    arguments.add_argument("--data_dir", help="folder of the TFDS data sets; default: TFDS's own")
    change = "a field of the recipe and its value in JSON, epochs=3 say"
    arguments.add_argument(
        "--change", action="append", default=[], metavar="FIELD=VALUE", help=change
    )
    return arguments


def config_of(options: argparse.Namespace) -> ConfigDict:
    """Returns the recipe with its changes."""
    config = command_line.read_config(options.config)
    changes = (change.partition("=") for change in options.change)
    config.update_from_flattened_dict({name: json.loads(value) for name, _, value in changes})
    return config


def main() -> None:
    """Packs what the command line says."""
    arguments = parser("Packs a run's step for a machine with JAX and without TensorFlow.")
    arguments.add_argument("--no_images", action="store_true", help="the images travel otherwise")
    options = arguments.parse_args()
    settings = TrainingSettings.from_config(config_of(options))
    run = Run(settings, Workdir(options.workdir), options.data_dir)
    pack(run, options.packed, not options.no_images)
    print(f"{run.in_words()}: packed in {options.packed}")


if __name__ == "__main__":
    main()
