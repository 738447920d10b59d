# SPDX-License-Identifier: Apache-2.0
"""Fashion-MNIST after CIFAR-10's recipe, with smaller crops.

python train.py --config=configs/fashion_mnist.py --workdir=runs/fashion_mnist
"""

from ml_collections import ConfigDict

from configs import cifar10


def get_config() -> ConfigDict:
    config = cifar10.get_config()
    config.dataset = "fashion_mnist"
    config.augmentation.crop_padding = 2
    config.augmentation.flip_probability = 0.5
    config.epochs = 40.0
    return config
