# SPDX-License-Identifier: Apache-2.0
"""The family side by side on CIFAR-10, without augmentation.

    python -m homoode_tf.compare --config=configs/compare_cifar10.py

One seed, three epochs.
"""

from ml_collections import ConfigDict

from configs import cifar10
from configs.family import compare_larger


def get_config() -> ConfigDict:
    recipe = cifar10.get_config()
    recipe.epochs = 3.0
    recipe.augmentation.crop_padding = 0
    recipe.augmentation.flip_probability = 0.0
    # States of 8 x 8: a quarter of the time of 16 x 16.
    recipe.model.stem_strides = (2, 2)
    return compare_larger(recipe, seeds=(0,))
