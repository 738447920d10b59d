# SPDX-License-Identifier: Apache-2.0
"""How stably the family trains: a comparison's members at 0.3, 1, 3 and 10 times its learning rate.

    python -m homoode_tf.compare --config=configs/compare_rates.py:digits --jobs=2

Of digits 100 runs: five members at four rates with five seeds each. `scripts.stability` reads them.
"""

import importlib

from ml_collections import ConfigDict

_NAMES = ("resnet", "neural_ode", "augmented_neural_ode", "deq", "homoode")
_FACTORS = (0.3, 1.0, 3.0, 10.0)


def get_config(comparison: str = "digits") -> ConfigDict:
    """The members of `compare_{comparison}`; a name says the rate: `homoode_rate_3e-03`."""
    config = importlib.import_module(f"configs.compare_{comparison}").get_config()
    # Of every epoch, for the residual's history.
    config.recipe.keep_checkpoints = 1000
    rates = [factor * config.recipe.optimizer.learning_rate for factor in _FACTORS]
    config.models = ConfigDict(
        {
            f"{name}_rate_{rate:.0e}": {
                **config.models[name].to_dict(),
                "optimizer": {"learning_rate": rate},
            }
            for name in _NAMES
            for rate in rates
        }
    )
    return config
