# SPDX-License-Identifier: Apache-2.0
"""The family side by side on digits: equal parameters, data, epochs and optimiser.

    python -m homoode_tf.compare --config=configs/compare_digits.py

Eight models with five seeds each; about an hour on two CPU cores with --jobs=2.
"""

from ml_collections import ConfigDict

from configs import digits
from configs.family import compare


def get_config() -> ConfigDict:
    recipe = digits.get_config()
    recipe.epochs = 20.0
    return compare(recipe, seeds=(0, 1, 2, 3, 4))
