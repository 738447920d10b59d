# SPDX-License-Identifier: Apache-2.0
"""MNIST after CIFAR-10's recipe, without flips and with smaller crops.

python train.py --config=configs/mnist.py --workdir=runs/mnist
"""

from ml_collections import ConfigDict

from configs import cifar10


def get_config() -> ConfigDict:
    config = cifar10.get_config()
    config.dataset = "mnist"
    config.augmentation.crop_padding = 2
    config.augmentation.flip_probability = 0.0
    config.epochs = 20.0
    return config
