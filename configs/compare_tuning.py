# SPDX-License-Identifier: Apache-2.0
"""Learning rate and dropout of each member of `compare_long.py`: the same small grid for all.

    python -m homoode_tf.compare --config=configs/compare_tuning.py:cifar10 --jobs=2

Three epochs, one seed; the column of validation decides.
"""

from ml_collections import ConfigDict

from configs import compare_long

_FACTORS = (0.5, 1.0, 2.0)
_RATES = ("learning_rate", "adam_learning_rate")
_DROPOUTS = {"": 0.0, "_dropout": 0.1}


def get_config(dataset: str = "cifar10") -> ConfigDict:
    """The members on "cifar10" or "mnist"; a name says what it has: `deq_rate_2e-02_dropout`."""
    config = compare_long.get_config(dataset)
    config.seeds = (0,)
    config.recipe.epochs = 3.0
    members = config.models.to_dict()
    config.models = ConfigDict()
    for name, member in members.items():
        for factor in _FACTORS:
            rates = {rate: factor * config.recipe.optimizer[rate] for rate in _RATES}
            named = f"{name}_rate_{rates['learning_rate']:.0e}"
            for suffix, dropout in _DROPOUTS.items():
                model = {**member["model"], "dropout_rate": dropout}
                config.models[named + suffix] = {"model": model, "optimizer": rates}
    return config
