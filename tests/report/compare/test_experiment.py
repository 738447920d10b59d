# SPDX-License-Identifier: Apache-2.0
import importlib

import ml_collections
import pytest

from homoode_tf import data
from homoode_tf.compare import Experiment
from homoode_tf.errors import UserError
from homoode_tf.report.compare.experiment import select

CONFIGS = ("digits", "mnist", "fashion_mnist", "svhn_cropped", "cifar10", "cifar100")


def load(name):
    return importlib.import_module(f"configs.compare_{name}").get_config()


RECIPE = load("digits").recipe.to_dict()


def without_model(config):
    return {field: value for field, value in config.items() if field != "model"}


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_agree_to_one_per_cent(name, tmp_path):
    """An `Experiment` refuses to be made otherwise."""
    experiment = Experiment(load(name), tmp_path)
    assert experiment.dataset == name
    family = {"resnet", "neural_ode", "augmented_neural_ode", "deq", "homoode"}
    family |= {"homoode_mean_z0", "homoode_zero_z0"}
    family |= {"homoode_fixed_z0"} if name == "digits" else set()
    assert set(experiment.model_names) == family
    learned = {n for n, (_, initial_point) in experiment.parameters.items() if initial_point}
    assert learned == {"homoode"}


@pytest.mark.parametrize("dataset", ["cifar10", "mnist"])
def test_at_length_all_are_tuned_alike(dataset, tmp_path):
    long = importlib.import_module("configs.compare_long").get_config(dataset)
    tuning = importlib.import_module("configs.compare_tuning").get_config(dataset)
    names = set(Experiment(long, tmp_path).model_names)
    assert names == {"resnet", "neural_ode", "augmented_neural_ode", "deq", "homoode"}
    assert (long.recipe.dataset, tuning.recipe.dataset) == (dataset, dataset)
    grids = {name: [] for name in names}
    for name, changes in tuning.models.items():
        changes = changes.to_dict()
        dropout = changes["model"].pop("dropout_rate")
        member, _, _ = name.partition("_rate_")
        assert changes["model"] == long.models[member].model.to_dict()
        grids[member].append((dropout, *changes["optimizer"].values()))
    assert len(set(map(tuple, grids.values()))) == 1 and len(grids["deq"]) == 6


def test_the_ablation_changes_one_thing_at_a_time(tmp_path):
    experiment = Experiment(load("cifar10_ablation"), tmp_path)
    recipe = load("cifar10").recipe.to_dict()
    models = {name: experiment.config_of(name).to_dict() for name in experiment.model_names}
    assert models["homoode"] == recipe
    for name, config in models.items():
        if name not in ("homoode", "neural_ode"):
            base = models["neural_ode" if name.startswith("neural_ode") else "homoode"]
            changed = {k for k, v in config["model"].items() if v != base["model"][k]}
            assert len(changed) == (2 if "tolerance" in name else 1), name
            assert without_model(config) == without_model(base)


def test_members_differ_in_model_and_seed_alone(tmp_path):
    experiment = Experiment(load("digits"), tmp_path)
    assert len(experiment.members) == 8 * 5
    assert len({member.workdir for member in experiment.members}) == 8 * 5
    # All models of a seed come before the next seed.
    assert [member.seed for member in experiment.members[:9]] == [0] * 8 + [1]
    for member in experiment.members:
        config = member.config.to_dict()
        own = experiment.config_of(member.model).to_dict()
        assert config.pop("seed") == member.seed
        own.pop("seed")
        assert config == own
    first, *others = (experiment.config_of(name).to_dict() for name in experiment.model_names)
    for other in others:
        assert without_model(other) == without_model(first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"models": {"a": {"model": {"chanels": 3}}}},
            r"config.models.a does not fit.* Did you mean model.channels\?$",
        ),
        (
            {"models": {"a": {"mdoel": {}}}},
            r"a does not fit the recipe: config has no field 'mdoel'",
        ),
        ({"models": {"a": {"batch_size": "x"}}}, "a does not fit the recipe: .*'batch_size'"),
        *(({"models": no}, "config.models must have, for each name") for no in (3, ["a"], "a")),
        *(({"models": {"a": no}}, "config.models.a must be a group") for no in (3, None, [])),
        ({"models": {"a": {"model": 3}}}, "config.models.a.model must be a group of fields, got 3"),
        *(({"models": {name: {}}}, "names that a folder can have") for name in (3, "", "a/b")),
        ({"models": {"a": {"seed": 1}}}, "config.models.a.seed has no use: set config.seeds"),
        ({"models": {"a": {"batch_size": 0}}}, "model a: config.batch_size must be an integer at"),
        (
            {"recipe": RECIPE | {"batch_size": 0}},
            "model augmented_neural_ode: config.batch_size must be an integer",
        ),
        (
            {"recipe": RECIPE | {"optimizer": {"learning_rate": -1.0}}},
            "model augmented_neural_ode: config.optimizer.learning_rate must be a number above 0",
        ),
        *(({"recipe": no}, "config.recipe must be a recipe") for no in (3, None)),
        ({"recipe": {}}, "does not fit the recipe: config has no field"),
        *(
            ({"seeds": (0, no)}, r"config.seeds\[1\] must be an integer at least 0")
            for no in (0.7, True, -1, 2**31, "a", None)
        ),
        *(({"seeds": no}, "config.seeds must be a tuple of integers") for no in (3, "01")),
        ({"seeds": (1, 0, 1)}, "config.seeds must differ from each other, got 1 twice"),
        *(
            ({"parameter_tolerance": no}, "config.parameter_tolerance must be a number at least 0")
            for no in (float("nan"), float("inf"), -0.1, "x", None, True)
        ),
        ({"models": {"a": {}, "b": {"model": {"channels": 96}}}}, "must agree to 1%"),
        ({"models": {}}, "must not be empty"),
        ({"seeds": ()}, "must not be empty"),
        ({"seed": 1}, "has the fields recipe, models, seeds"),
        ({"models": {"a": {"model": {"layer": "ode"}}}}, "config.model.layer must be one of"),
    ],
)
def test_errors(change, message, tmp_path):
    config = ml_collections.ConfigDict({**load("digits").to_dict(), **change})
    with pytest.raises(ValueError, match=message) as error:
        Experiment(config, tmp_path)
    assert len(str(error.value)) < 700 and not [*tmp_path.iterdir()]
    assert isinstance(error.value, UserError)


def test_some_of_the_models_can_be_chosen(tmp_path):
    config = load("digits")
    chosen = select(config, ["deq", "homoode"])
    assert Experiment(chosen, tmp_path).model_names == ("deq", "homoode")
    assert len(config.models) == 8, "the config itself is as it was"
    with pytest.raises(ValueError, match=r"--models must be one of .*homoode.*, got 'qed'"):
        select(config, ["deq", "qed"])


def test_sets_of_tfds_are_looked_for_in_the_data_dir(tmp_path):
    data.prepare("digits", tmp_path)
    config = select(load("digits"), ["deq"])
    config.recipe.dataset = "tfds:digits"
    named = Experiment(select(load("digits"), ["deq"]), tmp_path / "runs").parameters
    assert Experiment(config, tmp_path / "runs", tmp_path).parameters == named
    with pytest.raises(data.DataNotFoundError, match="dataset 'tfds:digits' is not in data_dir"):
        Experiment(config, tmp_path / "runs", tmp_path / "none")
