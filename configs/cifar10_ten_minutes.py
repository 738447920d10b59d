# SPDX-License-Identifier: Apache-2.0
"""CIFAR-10 in ten minutes on two CPU cores: states of 8x8, and two steps of Heun's method.

    python train.py --config=configs/cifar10_ten_minutes.py --workdir=runs/cifar10_ten_minutes

What it reaches stands in `docs/results.md`.
"""

from ml_collections import ConfigDict

from configs import cifar10_fast


def get_config() -> ConfigDict:
    config = cifar10_fast.get_config()
    config.epochs = 8.0
    config.batch_size = 64
    config.model.stem_strides = (2, 2)
    config.model.solver = "heun"
    config.model.num_steps = 2
    config.augmentation.crop_padding = 2
    # The rate of one epoch holds ten back: after the first, validation stood still for six.
    config.optimizer.learning_rate = 0.04
    config.optimizer.adam_learning_rate = 0.004
    config.weight_averaging.momentum = 0.995
    return config
