# SPDX-License-Identifier: Apache-2.0
"""SVHN with the paper's settings, without flips: a mirrored digit is another sign.

python train.py --config=configs/svhn_cropped.py --workdir=runs/svhn_cropped
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config("svhn_cropped")
    config.augmentation.crop_padding = 4
    config.epochs = 40.0
    return config
