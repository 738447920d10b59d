# SPDX-License-Identifier: Apache-2.0
"""How stably the family trains: a comparison's members at 0.3, 1, 3 and 10 times its learning rate.

    python -m homoode_tf.compare --config=configs/compare_rates.py:digits --jobs=2

Of digits 100 runs: five members at four rates with five seeds each. `scripts.stability` reads them.
"""

import importlib

from ml_collections import ConfigDict

_NAMES = ("resnet", "neural_ode", "augmented_neural_ode", "deq", "homoode")
_FACTORS = (0.3, 1.0, 3.0, 10.0)
_RATES = ("learning_rate", "adam_learning_rate")


def get_config(comparison: str = "digits") -> ConfigDict:
    """The members of `compare_{comparison}`, which may have an argument of its own, as long:mnist.

    A name says the rate: `homoode_rate_3e-03`.
    """
    name, _, argument = comparison.partition(":")
    module = importlib.import_module(f"configs.compare_{name}")
    config = module.get_config(argument) if argument else module.get_config()
    # Of every epoch, for the residual's history.
    config.recipe.keep_checkpoints = 1000
    members = {name: config.models[name].to_dict() for name in _NAMES}
    config.models = ConfigDict()
    for name, member in members.items():
        optimizer = {**config.recipe.optimizer.to_dict(), **member.get("optimizer", {})}
        for factor in _FACTORS:
            rates = {rate: factor * optimizer[rate] for rate in _RATES if rate in optimizer}
            named = f"{name}_rate_{rates['learning_rate']:.0e}"
            config.models[named] = {**member, "optimizer": {**member.get("optimizer", {}), **rates}}
    return config
