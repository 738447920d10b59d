# SPDX-License-Identifier: Apache-2.0
"""The family at length: thirty epochs with augmentation, three seeds, equal evaluations.

    python -m homoode_tf.compare --config=configs/compare_long.py:cifar10 --jobs=2 --against=homoode
    python -m homoode_tf.compare --config=configs/compare_long.py:mnist --jobs=2 --against=homoode

States of 8x8 (MNIST: 7x7). The ODEs take two steps of Heun's method and the ResNet four blocks,
four evaluations each; DEQ takes what it needs. Rates and dropout of each member are those that
`compare_tuning.py` found best on validation.
"""

from ml_collections import ConfigDict

from configs import cifar10_ten_minutes, mnist
from configs.family import compare_larger

_HALF_RATE = {"learning_rate": 0.02, "adam_learning_rate": 0.002}
_NAMES = ("resnet", "neural_ode", "augmented_neural_ode", "deq", "homoode")


def get_config(dataset: str = "cifar10") -> ConfigDict:
    """The comparison on "cifar10" or "mnist"."""
    recipe = cifar10_ten_minutes.get_config()
    if dataset == "mnist":
        images = mnist.get_config()
        for name in ("dataset", "augmentation", "normalization"):
            recipe[name] = images[name]
    recipe.epochs = 30.0
    # 5,000 or 6,000 images: with 1,000 a validation accuracy has a standard error of a point.
    recipe.validation_fraction = 0.1
    config = compare_larger(recipe, seeds=(0, 1, 2))
    config.models = ConfigDict({name: config.models[name] for name in _NAMES})
    config.models.resnet.model.num_steps = 4
    if dataset == "mnist":
        for name in ("resnet", "neural_ode", "homoode"):
            config.models[name].optimizer = ConfigDict(_HALF_RATE)
    return config
