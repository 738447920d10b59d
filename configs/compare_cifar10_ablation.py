# SPDX-License-Identifier: Apache-2.0
"""Why is HomoODE not ahead of the Neural ODE on CIFAR-10? One change at a time.

    python -m homoode_tf.compare --config=configs/compare_cifar10_ablation.py

One seed, the recipe of `compare_cifar10`.
"""

from ml_collections import ConfigDict

from configs import compare_cifar10

_NEURAL_ODE = {"layer": "neural_ode"}


def get_config() -> ConfigDict:
    config = compare_cifar10.get_config()
    config.seeds = (1,)
    config.models = ConfigDict(
        {
            "homoode": {"model": {"layer": "homoode"}},
            "homoode_adjoint": {"model": {"gradient": "adjoint"}},
            "homoode_final_time_2": {"model": {"final_time": 2.0}},
            "homoode_from_input": {"model": {"initial_point": "input"}},
            "homoode_groups_8": {"model": {"groups": 8}},
            "homoode_no_dropout": {"model": {"dropout_rate": 0.0}},
            "homoode_tolerance_1e-4": {"model": {"rtol": 1e-4, "atol": 1e-4}},
            "neural_ode": {"model": _NEURAL_ODE},
            "neural_ode_groups_8": {"model": {**_NEURAL_ODE, "groups": 8}},
            "neural_ode_no_dropout": {"model": {**_NEURAL_ODE, "dropout_rate": 0.0}},
        }
    )
    return config
