# SPDX-License-Identifier: Apache-2.0
"""CIFAR-10 as far as it goes: two hundred epochs at states of 16x16, four evaluations.

    python train.py --config=configs/cifar10_best.py --workdir=runs/cifar10_best

`:wide` has four times the parameters, and `:plain` never changes an image. `:four` and `:eight`
take as many evaluations, for a hundred epochs without cutout and dropout. For a GPU: `:four` is 77
seconds on an H200 (`scripts/without_tensorflow`), which two CPU cores make three and a half hours.
What each reaches stands in `docs/results.md`.
"""

from ml_collections import ConfigDict

from configs import cifar10_ten_minutes
from homoode_tf.errors import InvalidValueError


def get_config(variant: str = "") -> ConfigDict:
    """The recipe, or its variant "wide", "plain", "four" or "eight"."""
    config = cifar10_ten_minutes.get_config()
    config.epochs = 200.0
    config.batch_size = 128
    config.precision = "mixed_bfloat16"
    config.model.stem_strides = (1, 2)
    config.model.dropout_rate = 0.05
    config.augmentation.crop_padding = 4
    config.augmentation.cutout = 0.0625
    config.weight_averaging.momentum = 0.996
    if variant == "wide":
        config.epochs = 150.0
        config.model.channels = 128
        config.model.head_channels = 512
        config.model.dropout_rate = 0.1
    elif variant == "plain":
        config.epochs = 40.0
        config.model.dropout_rate = 0.2
        config.label_smoothing = 0.1
        config.augmentation = ConfigDict()
    elif variant in ("four", "eight"):
        config.epochs = 100.0
        config.model.num_steps = 4 if variant == "eight" else 2
        config.model.dropout_rate = 0.0
        config.augmentation.cutout = 0.0
    elif variant:
        raise InvalidValueError(
            f'its variants are "wide", "plain", "four" and "eight", got {variant!r}'
        )
    return config
