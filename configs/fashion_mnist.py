# SPDX-License-Identifier: Apache-2.0
"""Fashion-MNIST with the paper's settings, with smaller crops.

python train.py --config=configs/fashion_mnist.py --workdir=runs/fashion_mnist
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config("fashion_mnist")
    config.augmentation.crop_padding = 2
    config.augmentation.flip_probability = 0.5
    config.epochs = 40.0
    return config
