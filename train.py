# SPDX-License-Identifier: Apache-2.0
"""Trains, evaluates or exports a HomoODE image classifier.

    python train.py                                      # digits, no network needed
    python train.py --config=configs/cifar10.py --config.batch_size=128 --workdir=runs/try
    python train.py --mode=evaluate                      # the best checkpoint of runs/digits
    python train.py --mode=export                        # write its SavedModel again
    python train.py --profile_steps=10                   # see where the time of a step goes

The same command again resumes a run that was stopped, and does nothing to a complete one.
"""

import os
import pathlib

# TensorFlow's notices about the machine would hide the progress bar; errors are still shown.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import flags
from ml_collections import config_flags

from homoode_tf import command_line, training
from homoode_tf.training.devices import determinism, strategy
from homoode_tf.training.files.workdir import default_name
from homoode_tf.training.settings import TrainingSettings

_HERE = pathlib.Path(__file__).resolve().parent
_MODES = {"train": training.train, "evaluate": training.evaluate, "export": training.export}

_FIELDS = "\n".join(
    f"{name}={default or 'NAME'}: {meaning}"
    for name, default, _, meaning in TrainingSettings.declared()
)
_CONFIG = command_line.define_config(
    "The recipe. Default: configs/digits.py. --config.FIELD=VALUE changes one of its fields, whose "
    f"own defaults are:\n{_FIELDS}"
)
_WORKDIR = flags.DEFINE_string(
    "workdir",
    None,
    "Folder of the run. Default: runs/RECIPE, and what flags change of it.",
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of the TFDS data sets. Default: TFDS's own."
)
_INIT_FROM = flags.DEFINE_string(
    "init_from", None, "The same as --config.init_from: a run, or a .keras file, to start from."
)
flags.register_validator("workdir", lambda value: value != "", "It must not be empty.")
_MODE = flags.DEFINE_enum("mode", "train", list(_MODES), "What to do.")
_STRATEGY = flags.DEFINE_enum("strategy", "auto", strategy.NAMES, "Which devices to use.")
_DETERMINISTIC = flags.DEFINE_bool(
    "deterministic", False, "Whether two runs are to be equal bit for bit; slightly slower."
)
_SECOND_BEST = flags.DEFINE_bool(
    "second_best", False, "Whether the next best checkpoint may do where the best is damaged."
)
_PROFILE_STEPS = flags.DEFINE_integer(
    "profile_steps",
    0,
    "How many training steps to trace into WORKDIR/events, for TensorBoard's profile plugin.",
    lower_bound=0,
)
flags.register_multi_flags_validator(
    ["mode", "profile_steps"],
    lambda values: values["mode"] == "train" or not values["profile_steps"],
    "--profile_steps is for --mode=train alone.",
)


def _recipe_and_changes() -> tuple[str, dict[str, object]]:
    flag = flags.FLAGS["config"]
    path, _, argument = config_flags.get_config_filename(flag).partition(":")
    changes = dict(config_flags.get_override_values(flag))
    if _INIT_FROM.value is not None:
        changes["init_from"] = _INIT_FROM.value
    return "-".join(filter(None, [pathlib.Path(path).stem, argument])), changes


def main() -> None:
    """Does what the flags say."""
    if _DETERMINISTIC.value:
        determinism.enable()
    config = _CONFIG.value
    if _INIT_FROM.value is not None:
        with config.unlocked():
            config.init_from = _INIT_FROM.value
    workdir = _WORKDIR.value or pathlib.Path("runs") / default_name(*_recipe_and_changes())
    options = {"second_best": _SECOND_BEST.value}
    if _MODE.value == "train":
        options["profile_steps"] = _PROFILE_STEPS.value
    _MODES[_MODE.value](config, workdir, _DATA_DIR.value, _STRATEGY.value, **options)


if __name__ == "__main__":
    command_line.run(main, default_config=_HERE / "configs" / "digits.py")
