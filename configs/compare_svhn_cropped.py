# SPDX-License-Identifier: Apache-2.0
"""The family side by side on SVHN.

    python -m homoode_tf.compare --config=configs/compare_svhn_cropped.py

Three seeds, three epochs.
"""

from ml_collections import ConfigDict

from configs import svhn_cropped
from configs.family import compare_larger


def get_config() -> ConfigDict:
    recipe = svhn_cropped.get_config()
    recipe.epochs = 3.0
    return compare_larger(recipe, seeds=(0, 1, 2))
