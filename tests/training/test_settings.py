# SPDX-License-Identifier: Apache-2.0
import pathlib

import pytest

from homoode_tf.errors import InvalidValueError
from homoode_tf.settings import MissingFieldError
from homoode_tf.training.settings import TrainingSettings
from scripts import recipe_reference
from tests.training import fakes

SMALLEST = {"dataset": "fake"}


def test_reads_every_section():
    settings = TrainingSettings.from_config(fakes.config(batch_size=4, optimizer__name="sgd"))
    assert (settings.batch_size, settings.optimizer.name) == (4, "sgd")
    assert settings.initial_point.period == 3
    assert settings.weight_averaging.momentum == 0.0


def test_fields_with_a_default_may_be_absent():
    settings = TrainingSettings.from_config(SMALLEST)
    assert settings.optimizer.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("batch_size", 0, "at least 1"),
        ("batch_size", 2.5, "an integer"),
        ("batch_size", "many", "an integer"),
        ("batch_size", True, "an integer"),
        ("epochs", 0, "above 0"),
        ("epochs", float("nan"), "above 0"),
        ("epochs", 10**400, "at most 3.4e+38"),
        ("keep_checkpoints", 2**31, "below 2147483648"),
        ("optimizer.nesterov", "no", "True or False"),
        ("seed", -1, "at least 0"),
        ("label_smoothing", 1.0, "below 1"),
        ("log_every_steps", 0, "at least 1"),
        ("checkpoint_every_steps", 0, "at least 1"),
        ("evaluate_every_epochs", 0, "at least 1"),
        ("keep_checkpoints", 0, "at least 1"),
        ("precision", "float16", "float32, mixed_bfloat16"),
        ("jit_compile", 1, "True or False"),
        ("export_step_control", "image", "batch, sample"),
        ("optimizer.name", "adamm", "adam, adamw, muon, sgd"),
        ("optimizer.learning_rate", 0.0, "above 0"),
        ("optimizer.learning_rate", float("inf"), "above 0"),
        ("optimizer.final_learning_rate", -1.0, "at least 0"),
        ("optimizer.warmup_fraction", 1.0, "below 1"),
        ("optimizer.weight_decay", -0.1, "at least 0"),
        ("optimizer.clip_norm", -1.0, "at least 0"),
        ("initial_point.period", 0, "at least 1"),
        ("initial_point.learning_rate", -1.0, "at least 0"),
        ("weight_averaging.momentum", 1.0, "below 1"),
        ("weight_averaging.start_fraction", 1.0, "below 1"),
        ("weight_averaging.momentum", 0.99999999999, "below 1, got 0.99999999999, which is 1 in"),
        ("optimizer.beta_1", 0.99999999999, "which is 1 in float32"),
        ("optimizer.epsilon", 1e-300, "above 0, got 1e-300, which is 0 in float32"),
        ("optimizer.epsilon", 1e-40, "which is 0 in float32"),
        ("label_smoothing", 0.99999999999, "which is 1 in float32"),
        ("model.rtol", 1e38, "at most 1e+30"),
        ("model.atol", 1e38, "at most 1e+30"),
    ],
)
def test_errors_name_the_field_the_value_and_what_is_allowed(field, value, allowed):
    config = fakes.config().to_dict()
    *groups, name = field.split(".")
    group = config
    for part in groups:
        group = group[part]
    group[name] = value
    with pytest.raises(ValueError) as caught:
        TrainingSettings.from_config(config)
    message = str(caught.value)
    assert f"config.{field}" in message
    assert repr(value) in message
    assert allowed in message


@pytest.mark.parametrize("group", ["", "optimizer", "initial_point", "weight_averaging"])
def test_an_unknown_field_is_refused_and_the_known_ones_are_named(group):
    config = fakes.config().to_dict()
    (config[group] if group else config)["learnin_rate"] = 1
    known = {"": "dataset", "weight_averaging": "start_fraction"}.get(group, "learning_rate")
    with pytest.raises(ValueError, match=f"no field 'learnin_rate'.*{known}"):
        TrainingSettings.from_config(config)


def test_a_missing_field_is_named():
    with pytest.raises(MissingFieldError, match=r"config\.dataset is missing"):
        TrainingSettings.from_config({"batch_size": 4})


def test_the_committed_reference_is_what_the_command_writes():
    path = pathlib.Path(__file__).parents[2] / "docs" / "recipe_reference.md"
    assert path.read_text(encoding="utf-8") == recipe_reference.page()
    for name in ("dataset", "model.solver", "optimizer.clip_norm"):
        assert f"| `{name}` |" in recipe_reference.page()


def test_a_value_in_the_place_of_a_group_is_refused():
    with pytest.raises(ValueError, match="config.optimizer must be a group"):
        TrainingSettings.from_config({**SMALLEST, "optimizer": 3})


ANDERSON = {"solver": "anderson", "gradient": "implicit"}


@pytest.mark.parametrize("tolerance", [1e-30, 1e-9])
@pytest.mark.parametrize(
    "model", [{"layer": "homoode"}, {"layer": "neural_ode"}, {"layer": "deq", **ANDERSON}]
)
def test_tolerances_that_float32_cannot_resolve_are_refused(model, tolerance):
    both = {"rtol": tolerance, "atol": tolerance}
    with pytest.raises(InvalidValueError, match=r"config\.model\.rtol or atol must be at least .*"):
        TrainingSettings.from_config({"dataset": "fake", "model": {**model, **both}})
    for one in both:  # the other decides
        TrainingSettings.from_config({"dataset": "fake", "model": {**model, one: tolerance}})


@pytest.mark.parametrize("name", ["kinetic_weight", "error_weight", "final_time_spread"])
def test_what_a_deq_has_no_use_for_is_refused(name):
    config = {"dataset": "fake", "model": {"layer": "deq", **ANDERSON, name: 0.1}}
    with pytest.raises(InvalidValueError, match=rf"config\.model\.{name} must be 0 with a deq"):
        TrainingSettings.from_config(config)
    config["model"] = {name: 0.1}
    TrainingSettings.from_config(config)
