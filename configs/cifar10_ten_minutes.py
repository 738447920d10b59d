# SPDX-License-Identifier: Apache-2.0
"""CIFAR-10 in ten minutes on two CPU cores: states of 8x8, and so a quarter of the work.

    python train.py --config=configs/cifar10_ten_minutes.py --workdir=runs/cifar10_ten_minutes
"""

from ml_collections import ConfigDict

from configs import cifar10_fast


def get_config() -> ConfigDict:
    config = cifar10_fast.get_config()
    config.epochs = 16.0
    config.batch_size = 64
    config.model.stem_strides = (2, 2)
    # Beyond a few epochs the same images would be learned by heart.
    config.augmentation.crop_padding = 3
    config.weight_averaging.momentum = 0.995
    return config
