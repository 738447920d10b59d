# SPDX-License-Identifier: Apache-2.0
"""The fields of a config, each with values that it must not have."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Field(NamedTuple):
    """A field of a config: its dotted name, and what it must not be.

    `texts` are wrong values as `--config.NAME=TEXT` gives them, `expressions` as a config file
    writes them in Python. `beside` are sets of other fields with which this one is used, and
    alone is wrong.
    """

    name: str
    texts: Sequence[str]
    expressions: Sequence[str]
    beside: Sequence[Mapping[str, str]] = ({},)


# What is no number, or none that a float32 can hold.
_NO_NUMBER = ("nan", "inf", "-inf", "1e400", "many", "", "None", "(1, 2)", "{}", "1+2j", "--")
# Not True, nor an integer beyond a float: of those ml_collections itself makes floats, or cannot.
_NO_NUMBER_IN_PYTHON = (
    *("float('nan')", "float('inf')", "-float('inf')", "1e300"),
    *("'many'", "''", "'1'", "None", "[1]", "{}", "{1}", "1j", "b'1'", "object()", "len"),
)
_NO_INTEGER = ("-7", "2.5", str(2**31), "9" * 30)
_NO_INTEGER_IN_PYTHON = (*_NO_INTEGER, "10**400", "-(10**400)", "True", *_NO_NUMBER_IN_PYTHON)
_NO_NAME = ("", "None", "nonsense", "0", "NaN", "../..", "Ω", "a b")
_NO_NAME_IN_PYTHON = ("3", "0.5", "None", "True", "[]", "('adam',)", "{}", "{1}", "b'adam'", "len")
_NO_FLAG = ("maybe", "2", "-1", "", "nan", "None", "(True,)")
_NO_FLAG_IN_PYTHON = ("'maybe'", "2", "None", "0.5", "[True]", "{}", "float('nan')", "'False'")
_NO_STRIDES = ("()", f"({'1, ' * 9})", "(0, 1)", "(-1, 1)", "(3, 1)", "(1, 10000000000)")
_NO_SIZE = ("(8,)", "(8, 8, 8)", "(7, 8)", "(8, 513)", "(8.5, 8)", "(-8, 8)")

# Names of fields, by what is outside: the integer below the least, numbers, names.
_INTEGERS = {
    "-1": "augmentation.crop_padding model.extra_channels seed cache_megabytes",
    "-1 9": "augmentation.rand_augment",
    "0": "model.channels model.head_channels model.groups model.num_steps model.max_num_iterations "
    "model.max_num_steps batch_size accumulation_steps initial_point.period log_every_steps "
    "checkpoint_every_steps evaluate_every_epochs keep_checkpoints early_solver.num_steps",
}
_NUMBERS = {
    "0.0 -0.5 1.0 1.5 1e-9": "validation_fraction",
    "0.0 -0.5 1.0 1.5": "test_fraction",
    "-0.1 1.1": "augmentation.flip_probability augmentation.rand_augment_strength "
    "augmentation.mixup augmentation.cutmix",
    "-0.1 1.0 2.0 0.99999999999": "augmentation.cutout model.final_time_spread "
    "model.dropout_rate model.batch_norm_momentum optimizer.momentum "
    "optimizer.beta_1 optimizer.beta_2 weight_averaging.momentum",
    "-0.1 1.0 0.99999999999": "label_smoothing optimizer.warmup_fraction early_solver.fraction "
    "weight_averaging.start_fraction",
    "0.0 -1.0 1e-300 1e38": "model.rtol model.atol",
    "0.0 -1.0 1e-300": "model.final_time",
    "0.0 -1.0 1e30": "epochs",
    "0.0 -0.1 1e-300": "optimizer.learning_rate optimizer.adam_learning_rate optimizer.epsilon",
    "-0.1": "optimizer.final_learning_rate optimizer.weight_decay optimizer.clip_norm "
    "model.jacobian_weight model.kinetic_weight model.error_weight initial_point.learning_rate",
}
_CHOICES = {
    "mnits digit cifar": "dataset",
    "HomoODE transformer": "model.layer",
    "Conv convolution": "model.dynamics",
    "rk45 DOPRI5 newton": "model.solver",
    "adjiont": "model.gradient",
    "image Batch": "model.step_control",
    "learnt ones": "model.initial_point",
    "float16 bfloat16 float64": "precision",
    "ignore Skip": "non_finite",
    "adamm SGD": "optimizer.name",
    "anderson Heun": "early_solver.name",
    "image Sample": "export_step_control",
    "float16 bfloat16": "export_precision",
    "ImageNet own": "normalization",
}
_FLAGS = "model.synchronized_batch_norm whitened_stem jit_compile optimizer.nesterov"


_ODE = [{"model.layer": name} for name in ("homoode", "neural_ode", "augmented_neural_ode")]
_DEQ = [{"model.layer": "deq", "model.solver": "anderson", "model.gradient": "implicit"}]
# Not every layer uses these; the rest of the recipe suits all.
_BESIDE = {
    "model.extra_channels": _ODE[2:],
    "model.num_steps": [{"model.layer": "resnet"}],
    "model.initial_point": [_ODE[0], *_DEQ],
    **{name: _DEQ for name in ("model.max_num_iterations", "model.jacobian_weight")},
    **{name: [*_ODE, *_DEQ] for name in ("model.rtol", "model.atol")},
    **{name: _ODE for name in ("model.solver", "model.gradient", "model.step_control")},
    **{name: _ODE for name in ("model.final_time", "model.max_num_steps")},
    **{name: _ODE for name in ("model.kinetic_weight", "model.error_weight")},
    "model.final_time_spread": _ODE,
}


def _each(table, texts, expressions, write=str):
    for outside, names in table.items():
        more = outside.split()
        for name in names.split():
            values = [*more, *texts], [*map(write, more), *expressions]
            yield Field(name, *values, _BESIDE.get(name, [{}]))


FIELDS = (
    *_each(_INTEGERS, (*_NO_INTEGER, *_NO_NUMBER), _NO_INTEGER_IN_PYTHON),
    *_each(_NUMBERS, _NO_NUMBER, _NO_NUMBER_IN_PYTHON),
    *_each(_CHOICES, _NO_NAME, (*map(repr, _NO_NAME), *_NO_NAME_IN_PYTHON), write=repr),
    *_each({"": _FLAGS}, _NO_FLAG, _NO_FLAG_IN_PYTHON),
    Field("model.groups", ("3", "5"), ("3", "5")),  # They divide none of the channels.
    Field("image_size", (*_NO_SIZE, "many", "2.5"), (*_NO_SIZE, "None", "8", "'ab'")),
    # Not both.
    Field("augmentation.mixup", ("0.5",), ("0.5",), [{"augmentation.cutmix": "0.5"}]),
    Field("augmentation.cutmix", ("0.5",), ("0.5",), [{"augmentation.mixup": "0.5"}]),
    Field("model.stem_strides", (*_NO_STRIDES, "many", "2.5"), (*_NO_STRIDES, "None", "3", "'ab'")),
    Field("init_from", ("no/such/run", "nothing.keras", "."), ("None", "3", "0.5", "[]", "True")),
    Field("freeze", ("body", "stem,", "1"), ("'stem'", "('body',)", "('stem', 3)", "None", "7")),
    # What other layers want.
    Field("model.solver", ("anderson",), ("'anderson'",), _ODE),
    Field("model.solver", ("dopri5", "newton"), ("'dopri5'",), _DEQ),
    Field("model.gradient", ("implicit",), ("'implicit'",), _ODE),
    Field("model.gradient", ("backprop", "adjoint"), ("'checkpoint'",), _DEQ),
    # What would have no effect.
    *(
        Field(f"model.{name}", ("0.1",), ("0.1",), _DEQ)
        for name in ("kinetic_weight", "error_weight", "final_time_spread")
    ),
)
_UNRESOLVED = ({"model.rtol": "1e-30"}, {"model.atol": "1e-30"})
FIELDS = (
    *FIELDS,
    Field("model.rtol", ("1e-30",), ("1e-30",), [each | _UNRESOLVED[1] for each in [*_ODE, *_DEQ]]),
    Field("model.atol", ("1e-30",), ("1e-30",), [each | _UNRESOLVED[0] for each in [*_ODE, *_DEQ]]),
)
GROUPS = tuple(
    Field(name, (), ("3", "'x'", "[]", "None"))
    for name in (
        "augmentation",
        "model",
        "optimizer",
        "weight_averaging",
        "initial_point",
        "early_solver",
    )
)
# What has no default, so that a config cannot do without it; and where a small run has another one.
REQUIRED = ("dataset",)
NOT_DEFAULT = (*REQUIRED, "model", "batch_size", "epochs")
