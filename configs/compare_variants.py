# SPDX-License-Identifier: Apache-2.0
"""Which HomoODE? The paper's and others, four evaluations each, and the Neural ODE beside them.

    python -m homoode_tf.compare --config=configs/compare_variants.py --jobs=2 --against=homoode

Four epochs of CIFAR-10 at states of 8x8, three seeds; the column of validation decides.
"""

from ml_collections import ConfigDict

from configs import compare_long, variants

_DYNAMICS = {
    "before": variants.Before,
    "both": variants.Both,
    "gated": variants.Gated,
    "no_last_norm": variants.NoLastNorm,
    "normalized": variants.Normalized,
    "preactivation": variants.PreActivation,
    "residual": variants.Residual,
    "timed": variants.Timed,
}
# The task trains z(0) by the initial point's own SGD, which here makes every step.
_EVERY_STEP = {"initial_point": {"learning_rate": 1.0, "period": 1}}
_OTHERS = {
    "homoode": {},
    "homoode_dropout": {"model": {"dropout_rate": 0.1}},
    "homoode_final_time_2": {"model": {"final_time": 2.0}},
    "homoode_from_input": {"model": {"initial_point": "input"}},
    "homoode_both_from_input": {
        "model": {"initial_point": "input", "dynamics": "variants>Both"},
    },
    "homoode_kinetic": {"model": {"kinetic_weight": 0.1}},
    "homoode_learned_time": {"model": {"layer": "variants>LearnedTime"}},
    "homoode_one_step": {"model": {"num_steps": 1}},
    "homoode_rk4": {"model": {"solver": "rk4", "num_steps": 1}},
    "homoode_steer": {"model": {"final_time_spread": 0.5}},
    "homoode_three_steps": {"model": {"num_steps": 3}},
    "homoode_z0_by_task": {"model": {"initial_point": "variants>TaskTrained"}, **_EVERY_STEP},
    "homoode_z0_per_position": {"model": {"initial_point": "variants>PerPosition"}, **_EVERY_STEP},
    "neural_ode": {"model": {"layer": "neural_ode"}},
}


def get_config() -> ConfigDict:
    config = compare_long.get_config("cifar10")
    config.recipe.epochs = 4.0
    config.models = ConfigDict(_OTHERS)
    for name, dynamics in _DYNAMICS.items():
        registered = f"variants>{dynamics.__name__}"
        config.models[f"homoode_{name}"] = {"model": {"dynamics": registered}}
    return config
