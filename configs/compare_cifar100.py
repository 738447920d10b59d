# SPDX-License-Identifier: Apache-2.0
"""The family side by side on CIFAR-100.

    python -m homoode_tf.compare --config=configs/compare_cifar100.py

Three seeds, three epochs.
"""

from ml_collections import ConfigDict

from configs import cifar100
from configs.family import compare_larger


def get_config() -> ConfigDict:
    recipe = cifar100.get_config()
    recipe.epochs = 3.0
    config = compare_larger(recipe, seeds=(0, 1, 2))
    # What stays equal in number to the others at this width.
    config.models.augmented_neural_ode.model.update(
        {"channels": 144, "extra_channels": 60, "groups": 72}
    )
    return config
