# SPDX-License-Identifier: Apache-2.0
"""The fields of a config, each with values that it must not have."""

import dataclasses
import random
from collections.abc import Sequence
from typing import Any

# What is no number, or none that a float32 can hold.
_NO_NUMBER = ("nan", "inf", "-inf", "1e400", "many", "", "None", "(1, 2)", "{}", "1+2j", "--")
# Not True, nor an integer beyond a float: of those ml_collections itself makes floats, or cannot.
_NO_NUMBER_IN_PYTHON = (
    *("float('nan')", "float('inf')", "-float('inf')", "1e300"),
    *("'many'", "''", "'1'", "None", "[1]", "{}", "{1}", "1j", "b'1'", "object()", "len"),
)
_NO_NAME_IN_PYTHON = ("3", "0.5", "None", "True", "[]", "('adam',)", "{}", "{1}", "b'adam'", "len")


# What a layer needs beside its name; the rest of the recipe suits all.
_COMPANIONS = {"deq": {"model.solver": "anderson", "model.gradient": "implicit"}}


@dataclasses.dataclass(frozen=True)
class Field:
    """A field and what it must not be.

    Args:
        name: Its dotted name.
        texts: Wrong values as `--config.NAME=TEXT` gives them.
        expressions: Wrong values as a config file writes them in Python.
        layers: The layers of `config.model` that use it; empty where all do.
    """

    name: str
    texts: Sequence[str]
    expressions: Sequence[str]
    layers: Sequence[str] = ()

    def sound_beside(self, chance: random.Random) -> dict[str, Any]:
        """Returns what other fields must be so that this one is used, and alone wrong."""
        if not self.layers:
            return {}
        layer = chance.choice(self.layers)
        return {"model.layer": layer, **_COMPANIONS.get(layer, {})}


def _integer(name: str, minimum: int = 1, maximum: int = 2**31 - 1, **options) -> Field:
    outside = [str(minimum - 1), "-7", "2.5", str(maximum + 1), "9" * 30]
    values = [*outside, "10**400", "-(10**400)", "True", *_NO_NUMBER_IN_PYTHON]
    return Field(name, [*outside, *_NO_NUMBER], values, **options)


def _number(name: str, *outside: str, **options) -> Field:
    return Field(name, [*outside, *_NO_NUMBER], [*outside, *_NO_NUMBER_IN_PYTHON], **options)


def _choice(name: str, *wrong: str, **options) -> Field:
    texts = ["", "None", "nonsense", "0", "NaN", "../..", "Ω", "a b", *wrong]
    return Field(name, texts, [*map(repr, texts), *_NO_NAME_IN_PYTHON], **options)


def _flag(name: str) -> Field:
    return Field(
        name,
        ("maybe", "2", "-1", "", "nan", "None", "(True,)"),
        ("'maybe'", "2", "None", "0.5", "[True]", "{}", "float('nan')", "'False'"),
    )


_ODE = ("homoode", "neural_ode", "augmented_neural_ode")
_STRIDES = ("()", "(1,)", "(1, 2, 1)", "(0, 1)", "(-1, 1)", "(3, 1)", "(1, 10000000000)")
_MOMENTUM = ("-0.1", "1.0", "2.0")

FIELDS = (
    _choice("dataset", "mnits", "digit", "cifar"),
    _number("validation_fraction", "0.0", "-0.5", "1.0", "1.5", "1e-9"),
    _integer("augmentation.crop_padding", minimum=0),
    _number("augmentation.flip_probability", "-0.1", "1.1"),
    _choice("model.layer", "HomoODE", "transformer"),
    _integer("model.channels"),
    _integer("model.head_channels"),
    Field("model.stem_strides", (*_STRIDES, "many", "", "2.5"), (*_STRIDES, "None", "3", "'ab'")),
    # A third: divides none of the channels.
    Field("model.groups", _integer("").texts, [*_integer("").expressions, "3", "5"]),
    _number("model.dropout_rate", "-0.1", "1.0", "2.0"),
    _number("model.batch_norm_momentum", *_MOMENTUM),
    _flag("model.synchronized_batch_norm"),
    _choice("model.solver", "rk45", "DOPRI5", "anderson", layers=_ODE),
    _choice("model.solver", "dopri5", "newton", layers=("deq",)),
    _number("model.rtol", "0.0", "-1.0", layers=(*_ODE, "deq")),
    _number("model.atol", "0.0", "-1.0", layers=(*_ODE, "deq")),
    _number("model.final_time", "0.0", "-1.0", layers=_ODE),
    _choice("model.gradient", "adjiont", "implicit", layers=_ODE),
    _choice("model.gradient", "backprop", "adjoint", layers=("deq",)),
    _choice("model.step_control", "image", "Batch", layers=_ODE),
    _choice("model.initial_point", "learnt", "ones", layers=("homoode", "deq")),
    _integer("model.extra_channels", minimum=0, layers=("augmented_neural_ode",)),
    _integer("model.num_steps", layers=("resnet",)),
    _integer("model.max_num_iterations", layers=("deq",)),
    _integer("model.max_num_steps", layers=_ODE),
    _number("model.jacobian_weight", "-0.1", layers=("deq",)),
    _integer("batch_size"),
    _number("epochs", "0.0", "-1.0", "1e30"),
    _integer("seed", minimum=0),
    _integer("accumulation_steps"),
    _choice("precision", "float16", "bfloat16", "float64"),
    _choice("non_finite", "ignore", "Skip"),
    _number("label_smoothing", "-0.1", "1.0"),
    _flag("whitened_stem"),
    _flag("jit_compile"),
    _choice("optimizer.name", "adamm", "SGD"),
    _number("optimizer.learning_rate", "0.0", "-0.1"),
    _number("optimizer.final_learning_rate", "-0.1"),
    _number("optimizer.warmup_fraction", "-0.1", "1.0"),
    _number("optimizer.adam_learning_rate", "0.0", "-0.1"),
    _number("optimizer.momentum", *_MOMENTUM),
    _flag("optimizer.nesterov"),
    _number("optimizer.beta_2", *_MOMENTUM),
    _number("optimizer.weight_decay", "-0.1"),
    _number("weight_averaging.momentum", *_MOMENTUM),
    _number("weight_averaging.start_fraction", "-0.1", "1.0"),
    _number("initial_point.learning_rate", "-0.1"),
    _integer("initial_point.period"),
    _integer("log_every_steps"),
    _integer("checkpoint_every_steps"),
    _integer("evaluate_every_epochs"),
    _integer("keep_checkpoints"),
    _choice("export_step_control", "image", "Sample"),
)
GROUPS = tuple(
    Field(name, (), ("3", "'x'", "[]", "None"))
    for name in ("augmentation", "model", "optimizer", "weight_averaging", "initial_point")
)
_OPTIONAL = ("model.synchronized_batch_norm", "model.max_num_steps")
# What has no default, so that a config cannot do without it.
REQUIRED = (
    *(field for field in FIELDS if field.name in ("dataset", "validation_fraction")),
    *(field for field in FIELDS if field.name in ("batch_size", "epochs")),
    *(group for group in GROUPS if group.name in ("augmentation", "model")),
    *(field for field in FIELDS if field.name.startswith("model.") and field.name not in _OPTIONAL),
)
