# SPDX-License-Identifier: Apache-2.0
"""Tiny ImageNet with the paper's recipe: CIFAR-100's, with a stem that halves the image twice.

    python train.py --config=configs/tiny_imagenet.py --workdir=runs/tiny_imagenet

Needs your download of the images: `python -m homoode_tf.data tiny_imagenet` says where to put it.
"""

from ml_collections import ConfigDict

from configs import cifar100


def get_config() -> ConfigDict:
    config = cifar100.get_config()
    config.dataset = "tiny_imagenet"
    config.model.stem_strides = (2, 2)
    return config
