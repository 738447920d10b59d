# SPDX-License-Identifier: Apache-2.0
import keras
import numpy as np
import pytest

from configs import digits
from homoode_tf import models
from homoode_tf.training import early_solver, run, train
from homoode_tf.training.interruption import Interrupted
from homoode_tf.training.settings import EarlySolverSettings
from tests.training.runs import final_weights, lines
from tests.training.test_loop import interrupt_at


def model_of(**settings):
    settings = {"channels": 4, "groups": 2, "head_channels": 4, **settings}
    return models.build(settings, (4, 4, 1), 3, (0.5,), (0.25,))


class TestMake:
    def test_none_without_a_part_of_the_steps(self):
        assert early_solver.make(EarlySolverSettings("tsit5", fraction=0.0), None) is None

    @pytest.mark.parametrize("step_control", ["batch", "sample"])
    @pytest.mark.parametrize("name", ["heun", "bosh3"])
    @pytest.mark.parametrize("own", ["dopri5", "rk4"])
    def test_is_the_layers_own_with_another_tableau(self, own, name, step_control):
        model = model_of(solver=own, rtol=1e-2, step_control=step_control, gradient="checkpoint")
        solver = early_solver.make(EarlySolverSettings(name, num_steps=3, fraction=0.5), model)
        assert solver.tableau.name == name and solver.settings.gradient == "checkpoint"
        assert solver.settings.num_steps == (3 if name == "heun" else None)
        if own == "dopri5" and name == "bosh3":
            assert solver.settings.rtol == 1e-2 and solver.settings.step_control == step_control

    @pytest.mark.parametrize(
        ("model", "name", "message"),
        [
            ({"layer": "deq", "solver": "anderson", "gradient": "implicit"}, "heun", "DEQ"),
            ({"error_weight": 0.1}, "heun", "error"),
        ],
    )
    def test_what_cannot_be(self, model, name, message):
        with pytest.raises(ValueError, match=message):
            early_solver.make(EarlySolverSettings(name, fraction=0.5), model_of(**model))

    def test_a_solver_without_a_tableau(self):
        import tensorflow_probability as tfp

        model = model_of(solver=tfp.math.ode.BDF())
        with pytest.raises(ValueError, match="early_solver.fraction must be 0 with HomoODE"):
            early_solver.make(EarlySolverSettings(fraction=0.5), model)


def config_of(**early):
    config = digits.get_config()
    config.batch_size, config.epochs, config.log_every_steps = 64, 6 / 20, 1
    config.model.channels, config.model.groups, config.model.head_channels = 4, 2, 4
    config.model.solver = "heun_euler"
    for name, value in early.items():
        config.early_solver[name] = value
    return config


@pytest.mark.slow
def test_the_first_steps_are_made_by_it(tmp_path, monkeypatch):
    """As in a run of that solver alone, and where the run is resumed on either side as well."""
    monkeypatch.setattr(run.Run, "export", lambda _: None)
    config = config_of(fraction=0.5)
    train(config, tmp_path / "whole")
    evaluations = [line["nfe_forward"] for line in lines(tmp_path / "whole")]
    assert evaluations[:3] == [4.0] * 3 and min(evaluations[3:]) > 4.0
    assert len(evaluations) == 6

    alone = config_of()
    alone.model.solver, alone.model.num_steps = "heun", 2
    train(alone, tmp_path / "alone")
    losses = [[line["loss"] for line in lines(tmp_path / name)] for name in ("whole", "alone")]
    np.testing.assert_allclose(losses[0][:3], losses[1][:3], rtol=1e-5)
    assert abs(losses[0][4] - losses[1][4]) > 1e-5

    for calls in (2, 3):
        with monkeypatch.context() as patch:
            interrupt_at(patch, calls)
            with pytest.raises(Interrupted):
                train(config, tmp_path / "stopped")
    keras.backend.clear_session()
    train(config, tmp_path / "stopped")
    found, expected = (final_weights(tmp_path / name, step=6) for name in ("stopped", "whole"))
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
