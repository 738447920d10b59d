# SPDX-License-Identifier: Apache-2.0
"""CIFAR-10 at length: `cifar10_ten_minutes` at states of 16x16, for 60 epochs.

    python train.py --config=configs/cifar10_long.py --workdir=runs/cifar10_long

About two minutes an epoch on two idle CPU cores; a run that is stopped goes on.
"""

from ml_collections import ConfigDict

from configs import cifar10_ten_minutes


def get_config() -> ConfigDict:
    config = cifar10_ten_minutes.get_config()
    config.epochs = 60.0
    config.model.stem_strides = (1, 2)
    config.augmentation.crop_padding = 4
    config.optimizer.learning_rate = 0.03
    config.optimizer.adam_learning_rate = 0.003
    config.weight_averaging.momentum = 0.998
    return config
