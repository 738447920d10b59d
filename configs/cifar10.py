# SPDX-License-Identifier: Apache-2.0
"""CIFAR-10 with the paper's recipe.

    python train.py --config=configs/cifar10.py --workdir=runs/cifar10

300 epochs. One epoch, for a first look, is `--config.epochs=1`: test accuracy 50.5 % after ten
minutes on two CPU cores. The paper trains on all 50,000 images; here 1,000 are for validation.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config("cifar10")
    config.normalization = "imagenet"  # As the authors' code does, however the images are given.
    config.augmentation.crop_padding = 4
    config.augmentation.flip_probability = 0.2
    return config
