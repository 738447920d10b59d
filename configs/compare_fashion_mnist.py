# SPDX-License-Identifier: Apache-2.0
"""The family side by side on Fashion-MNIST.

    python -m homoode_tf.compare --config=configs/compare_fashion_mnist.py

Three seeds, two epochs.
"""

from ml_collections import ConfigDict

from configs import fashion_mnist
from configs.family import compare_larger


def get_config() -> ConfigDict:
    recipe = fashion_mnist.get_config()
    recipe.epochs = 2.0
    return compare_larger(recipe, seeds=(0, 1, 2))
