# SPDX-License-Identifier: Apache-2.0
"""CIFAR-100 with the paper's recipe.

python train.py --config=configs/cifar100.py --workdir=runs/cifar100
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config("cifar100")
    config.augmentation.crop_padding = 4
    config.augmentation.flip_probability = 0.5
    config.model.channels = 128
    config.model.head_channels = 512
    config.model.dropout_rate = 0.15
    config.initial_point.learning_rate = 0.01
    config.initial_point.period = 5
    return config
