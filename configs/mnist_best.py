# SPDX-License-Identifier: Apache-2.0
"""MNIST as far as it goes: states of 14x14, four evaluations, crops, cutout and dropout.

    python train.py --config=configs/mnist_best.py --workdir=runs/mnist_best

What it reaches stands in `docs/results.md`.
"""

from ml_collections import ConfigDict

from configs import cifar10_best, mnist


def get_config() -> ConfigDict:
    config = cifar10_best.get_config()
    images = mnist.get_config()
    for name in ("dataset", "augmentation", "normalization"):
        config[name] = images[name]
    config.epochs = 20.0
    config.precision = "auto"
    config.model.dropout_rate = 0.1
    config.augmentation.cutout = 0.04
    return config
