# SPDX-License-Identifier: Apache-2.0
"""Which way to fewer evaluations pays: losses by the path, a drawn final time, cheaper methods.

    python -m homoode_tf.compare --config=configs/compare_regularisers.py --jobs=2
    python -m homoode_tf.compare --config=configs/compare_regularisers.py:time --jobs=2

The paper's CIFAR-10 recipe at states of 8x8 in mixed_bfloat16, half an epoch, three seeds. With
`:time` each has as much time as the plain one has for its half epoch, by the time of one step.
"""

from ml_collections import ConfigDict

from configs import cifar10

_EPOCHS = 0.5
_MODELS = {
    "plain": {},
    "bosh3": {"model": {"solver": "bosh3", "rtol": 1e-2, "atol": 1e-2}},
    "early_heun": {"early_solver": {"fraction": 0.7}},
    "error": {"model": {"error_weight": 0.1}},
    "heun": {"model": {"solver": "heun", "num_steps": 2}},
    "jacobian": {"model": {"jacobian_weight": 0.01}},
    "kinetic": {"model": {"kinetic_weight": 0.1}},
    "steer": {"model": {"final_time_spread": 0.5}},
}
# In the plain one's: `python -m benchmarks.comparison_step`, 2026-11-26; see docs/speed.md.
_STEP_TIMES = {
    "plain": 1.0,
    "bosh3": 0.67,
    "early_heun": 0.85,
    "error": 1.11,
    "heun": 0.78,
    "jacobian": 1.53,
    "kinetic": 1.04,
    "steer": 1.07,
}


def get_config(budget: str = "epochs") -> ConfigDict:
    """The comparison at equal "epochs" or at equal "time"."""
    if budget not in ("epochs", "time"):
        raise ValueError(f"budget must be 'epochs' or 'time', got {budget!r}.")
    config = ConfigDict()
    config.recipe = cifar10.get_config()
    config.recipe.precision = "mixed_bfloat16"
    config.recipe.model.stem_strides = (2, 2)
    config.recipe.validation_fraction = 0.1
    config.recipe.epochs = _EPOCHS
    config.seeds = (0, 1, 2)
    config.parameter_tolerance = 0.0
    config.models = ConfigDict(_MODELS)
    if budget == "time":
        for name, ratio in _STEP_TIMES.items():
            config.models[name].epochs = round(_EPOCHS / ratio, 3)
    return config
