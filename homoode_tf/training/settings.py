# SPDX-License-Identifier: Apache-2.0
"""The whole config of a run: what steers training, beside the data's and the model's settings."""

import dataclasses
from typing import Any

from homoode_tf.data.settings import DataSettings
from homoode_tf.errors import InvalidTypeError, InvalidValueError
from homoode_tf.models.settings import ModelSettings
from homoode_tf.settings import Settings, count, fraction, group, not_negative, positive, setting
from homoode_tf.solvers import STEP_CONTROLS
from homoode_tf.solvers.ode.tableaus import BY_NAME
from homoode_tf.training.devices.precision import NAMES as PRECISIONS
from homoode_tf.training.non_finite import POLICIES

PARTS = ("stem", "layer", "initial_point", "head")
OPTIMIZERS = ("adam", "adamw", "muon", "sgd")


def _check_text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise InvalidTypeError(f"{name} must be a path, got {value!r}.")


def _check_parts(name: str, value: Any) -> None:
    if not isinstance(value, list | tuple) or not all(part in PARTS for part in value):
        raise InvalidValueError(
            f"{name} must be a tuple of some of {', '.join(PARTS)}, got {value!r}. On the command "
            f"line give --config.{name} once for each."
        )
    if {"stem", "layer", "head"} <= set(value):
        raise InvalidValueError(f"{name} must leave something to train, got {value!r}.")


@dataclasses.dataclass(frozen=True)
class OptimizerSettings(Settings):
    """`config.optimizer`: how the task's weights are updated."""

    name: str = setting("adam", "The optimiser.", choices=OPTIMIZERS)
    learning_rate: float = positive(
        1e-3, "Peak of the schedule; for muon the length of a step relative to the kernel's norm."
    )
    adam_learning_rate: float = positive(1e-3, "The same for what muon leaves to adam.")
    final_learning_rate: float = not_negative(1e-6, "Where the cosine ends.")
    warmup_fraction: float = fraction(0.0, "Part of all steps over which the rate rises linearly.")
    weight_decay: float = not_negative(
        0.0, "Decoupled decay of the kernels, multiplied by the learning rate."
    )
    momentum: float = fraction(0.9, "Momentum of sgd and muon.")
    nesterov: bool = setting(False, "Whether that momentum looks ahead.")
    beta_1: float = fraction(0.9, "First decay rate of adam and adamw, and of muon's adam part.")
    beta_2: float = fraction(0.999, "Second decay rate of the same.")
    epsilon: float = positive(1e-8, "Added to adam's denominator.")
    clip_norm: float = not_negative(0.0, "Largest global norm of the gradient; 0 is no limit.")


@dataclasses.dataclass(frozen=True)
class InitialPointSettings(Settings):
    """`config.initial_point`: how the shared initial point follows the solutions."""

    learning_rate: float = not_negative(
        0.02, "Of its own plain SGD; decays by the same cosine as the task's."
    )
    period: int = count(20, "It is updated every `period`-th step.")


@dataclasses.dataclass(frozen=True)
class EarlySolverSettings(Settings):
    """`config.early_solver`: another solver of the ODE for the first part of the training."""

    name: str = setting("heun", "The method.", choices=tuple(BY_NAME))
    num_steps: int = count(2, "Of a method without step control.")
    fraction: float = fraction(0.0, "Part of all steps that are made with it; 0 is none.")


@dataclasses.dataclass(frozen=True)
class WeightAveragingSettings(Settings):
    """`config.weight_averaging`: an exponential moving average to evaluate and export."""

    momentum: float = fraction(0.0, "Weight of the past; 0 turns averaging off.")
    start_fraction: float = fraction(0.0, "Part of all steps after which averaging begins.")


@dataclasses.dataclass(frozen=True)
class TrainingSettings(DataSettings):
    """The whole config of a run."""

    model: ModelSettings = group(ModelSettings)
    init_from: str = setting(
        "",
        "Folder of a run, a `.keras` file, or the name of pretrained weights, with which this one "
        "starts; the head starts anew where its classes are others.",
        check=_check_text,
        allowed="a path, a name, or nothing",
    )
    freeze: tuple = setting(
        (),
        "Parts that are not trained; batch norm in them keeps its moments.",
        check=_check_parts,
        allowed=f"some of {', '.join(PARTS)}",
    )
    batch_size: int = count(64, "Images of one step, over all replicas.")
    epochs: float = positive(300.0, "Passes over the training images; a part of one is allowed.")
    seed: int = not_negative(0, "Of the weights, the dropout masks and the order of the data.")
    whitened_stem: bool = setting(
        False,
        "Whether the first convolution starts as a whitening of the images' patches; with "
        "`init_from` it starts as there.",
    )
    label_smoothing: float = fraction(0.0, "Share of the target that is spread over all classes.")
    log_every_steps: int = count(50, "Steps between two lines of metrics.")
    checkpoint_every_steps: int = count(500, "Steps between two checkpoints.")
    evaluate_every_epochs: int = count(1, "Epochs between two evaluations on validation.")
    keep_checkpoints: int = count(2, "How many of the last ones are kept, beside the best one.")
    accumulation_steps: int = count(
        1, "Parts of the batch, one after the other, for one update: memory and batch norm of one."
    )
    non_finite: str = setting(
        "stop",
        "What becomes of a step with a non-finite loss or gradient, or whose solve fails.",
        choices=POLICIES,
    )
    precision: str = setting(
        "float32",
        "Of the convolutions. auto: mixed_bfloat16 where the devices have it natively, else "
        "float32. mixed_float16, for GPUs, scales the loss.",
        choices=PRECISIONS,
    )
    jit_compile: bool = setting(
        False,
        "Whether XLA compiles the training step: for GPUs, since on a CPU it is slower. It draws "
        "other random numbers for dropout, and a solve that fails makes a non-finite loss.",
    )
    export_precision: str = setting(
        "float32",
        'Of the exported model and of model.keras: "float32" runs anywhere and converts to other '
        'formats; "training" is as it was trained.',
        choices=("float32", "training"),
    )
    export_step_control: str = setting(
        "sample",
        'Of the exported model; with "sample" no answer depends on the images beside it.',
        choices=STEP_CONTROLS,
    )
    optimizer: OptimizerSettings = group(OptimizerSettings)
    initial_point: InitialPointSettings = group(InitialPointSettings)
    early_solver: EarlySolverSettings = group(EarlySolverSettings)
    weight_averaging: WeightAveragingSettings = group(WeightAveragingSettings)
