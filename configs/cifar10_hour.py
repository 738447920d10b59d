# SPDX-License-Identifier: Apache-2.0
"""CIFAR-10 in an hour on two CPU cores: states of 16x16, one step of Heun's method, later two.

    python train.py --config=configs/cifar10_hour.py --workdir=runs/cifar10_hour

What it reaches stands in `docs/results.md`.
"""

from ml_collections import ConfigDict

from configs import cifar10_ten_minutes


def get_config() -> ConfigDict:
    config = cifar10_ten_minutes.get_config()
    config.epochs = 32.0
    config.model.stem_strides = (1, 2)
    config.augmentation.crop_padding = 4
    config.early_solver.name = "heun"
    config.early_solver.num_steps = 1
    config.early_solver.fraction = 0.6
    config.weight_averaging.momentum = 0.998
    return config
