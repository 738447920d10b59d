# SPDX-License-Identifier: Apache-2.0
"""The part of a config that steers training, checked before anything is built."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from homoode_tf import checks
from homoode_tf.solvers.ode.runge_kutta import STEP_CONTROLS
from homoode_tf.training.non_finite import POLICIES

Settings = TypeVar("Settings")

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
OPTIMIZERS = ("adam", "adamw", "muon", "sgd")


@dataclasses.dataclass(frozen=True)
class OptimizerSettings:
    """`config.optimizer`: how the task's weights are updated.

    Args:
        name: One of `OPTIMIZERS`.
        learning_rate: Peak of the schedule, reached at the end of the warm-up. For muon it is the
            length of a step relative to the kernel's norm (see `ConvMuon`).
        adam_learning_rate: The same for what muon leaves to adam; of no effect otherwise.
        final_learning_rate: Where the cosine ends.
        warmup_fraction: Part of all steps over which the rate rises linearly, in [0, 1).
        weight_decay: Decoupled decay of the kernels (variables of rank 2 and more); it is
            multiplied by the learning rate.
        momentum: Momentum of sgd and muon, in [0, 1).
        nesterov: Whether that momentum looks ahead.
        beta_1: First decay rate of adam and adamw, and of muon's adam part, in [0, 1).
        beta_2: Second decay rate of the same, in [0, 1).
        epsilon: Added to adam's denominator.
        clip_norm: Largest global norm of the gradient; 0 turns clipping off.
    """

    name: str = "adam"
    learning_rate: float = 1e-3
    adam_learning_rate: float = 1e-3
    final_learning_rate: float = 1e-6
    warmup_fraction: float = 0.0
    weight_decay: float = 0.0
    momentum: float = 0.9
    nesterov: bool = False
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    clip_norm: float = 0.0

    def __post_init__(self):
        _choice(self, "optimizer", "name", OPTIMIZERS)
        _number(self, "optimizer", "learning_rate", above=0)
        _number(self, "optimizer", "adam_learning_rate", above=0)
        _number(self, "optimizer", "final_learning_rate", at_least=0)
        _number(self, "optimizer", "warmup_fraction", at_least=0, below=1)
        _number(self, "optimizer", "weight_decay", at_least=0)
        _number(self, "optimizer", "momentum", at_least=0, below=1)
        _flag(self, "optimizer", "nesterov")
        _number(self, "optimizer", "beta_1", at_least=0, below=1)
        _number(self, "optimizer", "beta_2", at_least=0, below=1)
        _number(self, "optimizer", "epsilon", above=0)
        _number(self, "optimizer", "clip_norm", at_least=0)


@dataclasses.dataclass(frozen=True)
class InitialPointSettings:
    """`config.initial_point`: how the shared initial point follows the solutions.

    Args:
        learning_rate: Of its own plain SGD; decays by the same cosine as the task's.
        period: It is updated every `period`-th step.
    """

    learning_rate: float = 0.02
    period: int = 20

    def __post_init__(self):
        _number(self, "initial_point", "learning_rate", at_least=0)
        _integer(self, "initial_point", "period", at_least=1)


@dataclasses.dataclass(frozen=True)
class WeightAveragingSettings:
    """`config.weight_averaging`: an exponential moving average to evaluate and export.

    Args:
        momentum: Weight of the past, in [0, 1); 0 turns averaging off.
        start_fraction: Part of all steps after which averaging begins, in [0, 1).
    """

    momentum: float = 0.0
    start_fraction: float = 0.0

    def __post_init__(self):
        _number(self, "weight_averaging", "momentum", at_least=0, below=1)
        _number(self, "weight_averaging", "start_fraction", at_least=0, below=1)


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """Everything of a config that training needs beside the data's and the model's fields.

    Args:
        batch_size: Images of one step, over all replicas.
        epochs: Passes over the training split; a part of one is allowed.
        seed: Of the weights, the dropout masks and the order of the data.
        whitened_stem: Whether the stem's first convolution starts as a whitening of the images'
            patches instead of at random.
        label_smoothing: Share of the target that is spread over all classes, in [0, 1).
        log_every_steps: Steps between two lines of metrics.
        checkpoint_every_steps: Steps between two checkpoints.
        evaluate_every_epochs: Epochs between two evaluations on validation.
        keep_checkpoints: How many of the last checkpoints are kept, beside the best one.
        accumulation_steps: Parts of the batch that are gone through one after the other, for one
            update; the memory is that of a part, and batch norm sees one part at a time.
        non_finite: One of `POLICIES`; what becomes of a step with a non-finite loss or gradient.
        precision: One of `PRECISIONS`; with mixed_bfloat16 the convolutions compute in bfloat16,
            with mixed_float16 in float16, under a dynamic loss scale.
        jit_compile: Whether XLA compiles the training step: for GPUs, since on a CPU it is slower.
            XLA draws other random numbers for dropout, and cannot raise the solver's errors: a
            solve that fails, say for want of `config.model.max_num_steps`, makes a non-finite
            loss.
        export_step_control: One of `STEP_CONTROLS`; how the exported model's solver steps. With
            "sample" an image's answer does not depend on the images beside it.
        optimizer: The task's optimiser.
        initial_point: The initial point's updates.
        weight_averaging: The average of the weights.
    """

    batch_size: int
    epochs: float
    seed: int = 0
    whitened_stem: bool = False
    label_smoothing: float = 0.0
    log_every_steps: int = 50
    checkpoint_every_steps: int = 500
    evaluate_every_epochs: int = 1
    keep_checkpoints: int = 3
    accumulation_steps: int = 1
    non_finite: str = "stop"
    precision: str = "float32"
    jit_compile: bool = False
    export_step_control: str = "sample"
    optimizer: OptimizerSettings = dataclasses.field(default_factory=OptimizerSettings)
    initial_point: InitialPointSettings = dataclasses.field(default_factory=InitialPointSettings)
    weight_averaging: WeightAveragingSettings = dataclasses.field(
        default_factory=WeightAveragingSettings
    )

    def __post_init__(self):
        _integer(self, "", "batch_size", at_least=1)
        _number(self, "", "epochs", above=0)
        _integer(self, "", "seed", at_least=0)
        _flag(self, "", "whitened_stem")
        _number(self, "", "label_smoothing", at_least=0, below=1)
        _integer(self, "", "log_every_steps", at_least=1)
        _integer(self, "", "checkpoint_every_steps", at_least=1)
        _integer(self, "", "evaluate_every_epochs", at_least=1)
        _integer(self, "", "keep_checkpoints", at_least=1)
        _integer(self, "", "accumulation_steps", at_least=1)
        _choice(self, "", "non_finite", POLICIES)
        _choice(self, "", "precision", PRECISIONS)
        _flag(self, "", "jit_compile")
        _choice(self, "", "export_step_control", STEP_CONTROLS)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "TrainingSettings":
        """Reads a whole config; fields that have a default may be absent.

        Args:
            config: What `get_config()` of a file in `configs/` returns.

        Returns:
            The checked settings.

        Raises:
            ValueError: If a field is unknown, missing or not allowed; the message names it.
        """
        elsewhere = ("dataset", "validation_fraction", "augmentation", "model")
        for name in elsewhere:
            if name not in config:
                raise ValueError(f"config.{name} is missing.")
        own = {name: value for name, value in config.items() if name not in elsewhere}
        sections = {
            "optimizer": OptimizerSettings,
            "initial_point": InitialPointSettings,
            "weight_averaging": WeightAveragingSettings,
        }
        for name, section in sections.items():
            if name in own:
                own[name] = read_section(section, own[name], name)
        return read_section(cls, own, "", also_known=elsewhere)


def defaults() -> dict[str, Any]:
    """Returns the fields of `TrainingSettings` that have a default, with it, as a nested config."""
    fields = dataclasses.asdict(TrainingSettings(batch_size=1, epochs=1.0))
    return {name: value for name, value in fields.items() if name not in ("batch_size", "epochs")}


def read_section(
    section: type[Settings],
    values: Mapping[str, Any],
    name: str,
    also_known: tuple[str, ...] = (),
) -> Settings:
    """Makes the dataclass `section` from one section of a config.

    Args:
        section: A dataclass whose fields are the section's.
        values: The section.
        name: Its name in the config, "" for the config itself.
        also_known: Further names that the error about an unknown field lists.

    Returns:
        An instance of `section`.

    Raises:
        ValueError: If `values` is no mapping, or has an unknown field, or lacks one.
    """
    prefix = f"config.{name}" if name else "config"
    if not isinstance(values, Mapping) and not hasattr(values, "items"):
        raise ValueError(f"{prefix} must be a group of fields, got {values!r}.")
    fields = {field.name: field for field in dataclasses.fields(section)}
    for field in values:
        if field not in fields:
            known = ", ".join(sorted((*fields, *also_known)))
            raise ValueError(f"{prefix} has no field {field!r}; the known ones are {known}.")
    for field in fields.values():
        required = (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        if required and field.name not in values:
            raise ValueError(f"{prefix}.{field.name} is missing.")
    return section(**dict(values.items()))


def _number(settings: Any, section: str, field: str, **limits: float) -> None:
    checks.check_number(_name(section, field), getattr(settings, field), **limits)


def _integer(settings: Any, section: str, field: str, **limits: int) -> None:
    checks.check_integer(_name(section, field), getattr(settings, field), **limits)


def _choice(settings: Any, section: str, field: str, allowed: tuple[str, ...]) -> None:
    checks.check_choice(_name(section, field), getattr(settings, field), allowed)


def _flag(settings: Any, section: str, field: str) -> None:
    checks.check_flag(_name(section, field), getattr(settings, field))


def _name(section: str, field: str) -> str:
    return ".".join(part for part in ("config", section, field) if part)
