# SPDX-License-Identifier: Apache-2.0
"""The base of all recipes: the paper's settings, with any data set.

    python train.py --config=configs/base.py:fashion_mnist --workdir=runs/plain

The settings are declared in the package, and `docs/recipe_reference.md` lists them; a recipe says
what its data set wants otherwise.

Source: Ding et al., NeurIPS 2023, https://arxiv.org/abs/2310.09583, and the code they published.
"""

import dataclasses
from typing import Any

from ml_collections import ConfigDict, FieldReference

from homoode_tf.models import ModelSettings
from homoode_tf.training.settings import TrainingSettings


def get_config(dataset: str) -> ConfigDict:
    config = ConfigDict(TrainingSettings.complete({"dataset": dataset}))
    for group, settings in ((config, TrainingSettings), (config.model, ModelSettings)):
        for field in dataclasses.fields(settings):
            if field.type is Any:  # A name, or something of one's own.
                group[field.name] = FieldReference(group[field.name], field_type=object)
    return config
