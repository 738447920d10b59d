# SPDX-License-Identifier: Apache-2.0
"""Trains, evaluates or exports a HomoODE image classifier.

    python train.py                             digits, no network needed
    python train.py --config=cifar10 --config.batch_size=128 --workdir=runs/try
    python train.py --mode=evaluate             its best checkpoint
    python train.py --mode=export               its SavedModel once more
    python train.py --profile_steps=10          where the time of a step goes

The same command again resumes a run that was stopped, and does nothing to a
complete one.
"""

if __name__ == "__main__":
    from homoode_tf import commands

    commands.train()

import pathlib
from collections.abc import Callable
from typing import Any

from absl import flags
from ml_collections import config_flags

from homoode_tf import command_line, empty_flags, training
from homoode_tf.training.devices import determinism, strategy
from homoode_tf.training.files.workdir import default_name
from homoode_tf.training.settings import TrainingSettings

_MODES: dict[str, Callable[..., Any]] = {
    "train": training.train,
    "evaluate": training.evaluate,
    "export": training.export,
}

FLAGS = flags.FlagValues()
_CONFIG = command_line.define_config(FLAGS, "The recipe. Default: digits.")
_WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Folder of the run: checkpoints, metrics, result. Default: runs/RECIPE, and what flags change "
    "of it.",
    FLAGS,
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of the TFDS data sets. Default: TFDS's own.", FLAGS
)
_INIT_FROM = flags.DEFINE_string(
    "init_from",
    None,
    "The same as --config.init_from: a run, a .keras file or pretrained weights to start from.",
    FLAGS,
)
_MODE = flags.DEFINE_enum("mode", "train", list(_MODES), "What to do.", FLAGS)
_STRATEGY = flags.DEFINE_enum("strategy", "auto", strategy.NAMES, "Which devices to use.", FLAGS)
_DETERMINISTIC = flags.DEFINE_bool(
    "deterministic", False, "Whether two runs are to be equal bit for bit; slightly slower.", FLAGS
)
_SECOND_BEST = flags.DEFINE_bool(
    "second_best",
    False,
    "Whether the next best checkpoint may do where the best is damaged.",
    FLAGS,
)
_PROFILE_STEPS = flags.DEFINE_integer(
    "profile_steps",
    0,
    "How many training steps to trace into WORKDIR/events, for TensorBoard's profile plugin.",
    lower_bound=0,
    flag_values=FLAGS,
)
flags.register_multi_flags_validator(
    ["mode", "profile_steps"],
    lambda values: values["mode"] == "train" or not values["profile_steps"],
    "--profile_steps is for --mode=train alone.",
    FLAGS,
)
empty_flags.refuse(FLAGS)


def main() -> None:
    """Does what the flags say."""
    if _DETERMINISTIC.value:
        determinism.enable()
    config = _CONFIG.value
    if _INIT_FROM.value is not None:
        with config.unlocked():
            config.init_from = _INIT_FROM.value
    workdir = _WORKDIR.value or pathlib.Path("runs") / default_name(*_recipe_and_changes())
    options: dict[str, Any] = {"second_best": _SECOND_BEST.value}
    if _MODE.value == "train":
        options["profile_steps"] = _PROFILE_STEPS.value
    _MODES[_MODE.value](config, workdir, _DATA_DIR.value, _STRATEGY.value, **options)


def _recipe_and_changes() -> tuple[str, dict[str, object]]:
    path, _, argument = config_flags.get_config_filename(FLAGS["config"]).partition(":")
    changes = dict(config_flags.get_override_values(FLAGS["config"]))
    if _INIT_FROM.value is not None:
        changes["init_from"] = _INIT_FROM.value
    return "-".join(filter(None, [pathlib.Path(path).stem, argument])), changes


def start() -> None:
    """Parses the command line and runs the command."""
    fields = (
        (f"{name}={default or 'NAME'}", meaning)
        for name, default, _, meaning in TrainingSettings.declared()
    )
    command_line.run(main, FLAGS, "digits", __doc__, fields)
