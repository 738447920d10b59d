# SPDX-License-Identifier: Apache-2.0
import keras
import numpy as np
import pytest

from configs import digits
from homoode_tf.models import ModelSettings
from homoode_tf.models.builder import build
from homoode_tf.training import run, train
from homoode_tf.training.inputs import Inputs
from homoode_tf.training.non_finite import NonFiniteError
from homoode_tf.training.state import TrainState
from homoode_tf.training.step import make_train_step
from tests import slow
from tests.training import fakes

# XLA draws other random numbers: without dropout both ways compute the same.
SMALL = {"channels": 4, "head_channels": 8, "groups": 2, "dropout_rate": 0.0}
FIXED_STEPS = {"solver": "midpoint", "num_steps": 2, "gradient": "backprop"}
# XLA takes long over each stage of a solver.
FEW_STAGES = {"solver": "heun_euler", "rtol": 0.1, "atol": 0.1}
BOUNDED = {**FEW_STAGES, "max_num_steps": 12}
# Anderson's method would not converge here, and make much of differences in rounding.
DEQ = {"layer": "deq", "solver": "damped", "gradient": "implicit", "max_num_iterations": 8}
DENSE = ModelSettings(dropout_rate=0.0)
SGD = {"optimizer__name": "sgd", "optimizer__learning_rate": 0.01}


def build_model(config, image_shape, num_classes, mean, std, precision="float32"):
    values = digits.get_config().model
    values.update({**SMALL, **config})
    return build(values, image_shape, num_classes, mean, std, precision)


def train_some_steps(strategy, jit_compile, model, **changes):
    keras.utils.set_random_seed(3)
    settings = fakes.settings(jit_compile=jit_compile, **changes)
    make = fakes.build_model if model is DENSE else build_model
    with strategy.scope():
        classifier = make(model, (4, 4, 1), 3, (0.5,), (0.25,))
    state = TrainState(classifier, settings, 20, strategy)
    batches = Inputs(fakes.FakeImages(), settings, strategy).train(0, 3)
    step = make_train_step(state, settings)
    for _ in range(3):
        step(batches)
    state.non_finite_steps.check()
    return [v.numpy() for v in classifier.variables], state.epoch_metrics.means()


@pytest.mark.parametrize(
    ("replicas", "model", "changes"),
    [
        (1, DENSE, {**SGD, "optimizer__clip_norm": 0.5, "initial_point__period": 1}),
        slow(2, DENSE, {"weight_averaging__momentum": 0.5}),
        slow(1, DENSE, {**SGD, "accumulation_steps": 2}),
        slow(1, FIXED_STEPS, {**SGD, "non_finite": "skip", "weight_averaging__momentum": 0.5}),
        slow(1, {**BOUNDED, "gradient": "backprop"}, SGD),
        slow(1, {**BOUNDED, "gradient": "checkpoint"}, SGD),
        slow(1, {**FEW_STAGES, "gradient": "adjoint", "step_control": "sample"}, SGD),
        slow(1, {"layer": "resnet", "gradient": "checkpoint"}, SGD),
        slow(1, DEQ, SGD),
    ],
)
def test_compiled_steps_do_what_the_others_do(request, replicas, model, changes):
    strategy = request.getfixturevalue("one_replica" if replicas == 1 else "two_replicas")
    compiled, plain = (
        train_some_steps(strategy, jit_compile, model, **changes) for jit_compile in (True, False)
    )
    for a, b in zip(compiled[0], plain[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    assert compiled[1] == pytest.approx(plain[1], rel=1e-3)


@pytest.fixture
def small_models(use_fakes, monkeypatch):
    monkeypatch.setattr(run.models, "build", build)


def config(model, **changes):
    values = fakes.config(jit_compile=True, **changes)
    with values.unlocked():
        values.model = {**digits.get_config().model.to_dict(), **SMALL, **model}
    return values


@pytest.mark.usefixtures("small_models")
class TestRefused:
    @pytest.mark.parametrize("gradient", ["backprop", "checkpoint"])
    def test_steps_without_a_bound(self, tmp_path, gradient):
        message = (
            f"jit_compile cannot be True with config.model.gradient={gradient} and "
            "config.model.solver=dopri5 in up to 100000 steps: .* at most 1024, or .* to adjoint"
        )
        with pytest.raises(ValueError, match=message):
            train(config({"gradient": gradient}), tmp_path, strategy="one_device")
        assert not (tmp_path / "config.json").exists()

    def test_moments_of_all_replicas(self, tmp_path, two_replicas):
        with pytest.raises(ValueError, match="synchronized_batch_norm=True on 2 replicas"):
            train(
                config({**FIXED_STEPS, "synchronized_batch_norm": True}),
                tmp_path,
                strategy=two_replicas,
            )


@pytest.mark.usefixtures("small_models")
@pytest.mark.slow
def test_steps_too_few_end_a_run_though_xla_cannot_raise(tmp_path, caplog):
    """And a CPU is warned of."""
    bound = {**BOUNDED, "gradient": "adjoint", "max_num_steps": 2, "rtol": 1e-6, "atol": 1e-6}
    with pytest.raises(NonFiniteError, match="non-finite at step 1"):
        train(config(bound), tmp_path, strategy="one_device")
    assert "jit_compile=True makes training slower on a CPU" in caplog.text
