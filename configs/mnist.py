# SPDX-License-Identifier: Apache-2.0
"""MNIST with the paper's settings, without flips and with smaller crops.

python train.py --config=configs/mnist.py --workdir=runs/mnist
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config("mnist")
    config.augmentation.crop_padding = 2
    config.epochs = 20.0
    return config
