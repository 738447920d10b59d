# SPDX-License-Identifier: Apache-2.0
"""Every public name shows how it is used; that it works, pytest's `--doctest-modules` sees to."""

import dataclasses
import enum
import importlib
import inspect
import pathlib
import pkgutil

import pytest

import homoode_tf

PACKAGE = pathlib.Path(homoode_tf.__file__).parent
WITHOUT_AN_EXAMPLE = {
    "LossScale": "a run makes it from its config",
    "WeightAverage": "a run makes it from its config",
    "build_initial_point_optimizer": "a run makes it from its config",
    "build_task_optimizer": "a run makes it from its config",
    "clip_to_global_norm": "a run does it by its config",
    "FixedPointSolver": "its subclasses have one",
    "ImplicitLayer": "its subclasses have one",
    "InitialPoint": "its subclasses have one",
    "ODELayer": "its subclasses have one",
    "evaluate": "of a run, which takes minutes to make",
    "export": "of a run, which takes minutes to make",
    "train": "takes minutes",
}


def public_names():
    """What a user calls: the classes and functions in any `__all__`, but for what calls return."""
    found = {}
    for module in pkgutil.walk_packages(homoode_tf.__path__, "homoode_tf."):
        if module.name.endswith(".__main__"):
            continue
        imported = importlib.import_module(module.name)
        for name in getattr(imported, "__all__", ()):
            value = getattr(imported, name)
            if inspect.isfunction(value) or (inspect.isclass(value) and not is_a_result(value)):
                found[name] = value
    return found


def is_a_result(cls):
    """Whether users are given such objects and make none."""
    return issubclass(cls, (BaseException, enum.Enum, tuple)) or (
        dataclasses.is_dataclass(cls) and cls is not homoode_tf.solvers.ButcherTableau
    )


def test_every_public_name_has_an_example():
    without = {name for name, value in public_names().items() if ">>>" not in (value.__doc__ or "")}
    assert without == WITHOUT_AN_EXAMPLE.keys()


@pytest.mark.parametrize("other_style", ["```python", "doctest: +SKIP", "Example: `"])
def test_examples_have_one_style_and_run(other_style):
    files = PACKAGE.rglob("*.py")
    assert [path for path in files if other_style in path.read_text(encoding="utf-8")] == []
