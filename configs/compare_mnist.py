# SPDX-License-Identifier: Apache-2.0
"""The family side by side on MNIST.

    python -m homoode_tf.compare --config=configs/compare_mnist.py

Three seeds, two epochs.
"""

from ml_collections import ConfigDict

from configs import mnist
from configs.family import compare_larger


def get_config() -> ConfigDict:
    recipe = mnist.get_config()
    recipe.epochs = 2.0
    # States of 7 x 7: a quarter of the time of 14 x 14.
    recipe.model.stem_strides = (2, 2)
    return compare_larger(recipe, seeds=(0, 1, 2))
