# SPDX-License-Identifier: Apache-2.0
"""SVHN after CIFAR-10's recipe, without flips: a mirrored digit is another sign.

python train.py --config=configs/svhn_cropped.py --workdir=runs/svhn_cropped
"""

from ml_collections import ConfigDict

from configs import cifar10


def get_config() -> ConfigDict:
    config = cifar10.get_config()
    config.dataset = "svhn_cropped"
    config.augmentation.flip_probability = 0.0
    config.epochs = 40.0
    return config
