# SPDX-License-Identifier: Apache-2.0
"""The whole config of a run: what steers training, beside the data's and the model's settings."""

import dataclasses

from homoode_tf.data.settings import DataSettings
from homoode_tf.models.settings import ModelSettings
from homoode_tf.settings import Settings, setting
from homoode_tf.solvers import STEP_CONTROLS
from homoode_tf.training.non_finite import POLICIES

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
OPTIMIZERS = ("adam", "adamw", "muon", "sgd")


@dataclasses.dataclass(frozen=True)
class OptimizerSettings(Settings):
    """`config.optimizer`: how the task's weights are updated."""

    name: str = setting("adam", "The optimiser.", choices=OPTIMIZERS)
    learning_rate: float = setting(
        1e-3,
        "Peak of the schedule, reached at the end of the warm-up; for muon the length of a step "
        "relative to the kernel's norm.",
        above=0,
    )
    adam_learning_rate: float = setting(
        1e-3, "The same for what muon leaves to adam; of no effect otherwise.", above=0
    )
    final_learning_rate: float = setting(1e-6, "Where the cosine ends.", at_least=0)
    warmup_fraction: float = setting(
        0.0, "Part of all steps over which the rate rises linearly.", at_least=0, below=1
    )
    weight_decay: float = setting(
        0.0,
        "Decoupled decay of the kernels (variables of rank 2 and more), multiplied by the "
        "learning rate.",
        at_least=0,
    )
    momentum: float = setting(0.9, "Momentum of sgd and muon.", at_least=0, below=1)
    nesterov: bool = setting(False, "Whether that momentum looks ahead.")
    beta_1: float = setting(
        0.9, "First decay rate of adam and adamw, and of muon's adam part.", at_least=0, below=1
    )
    beta_2: float = setting(0.999, "Second decay rate of the same.", at_least=0, below=1)
    epsilon: float = setting(1e-8, "Added to adam's denominator.", above=0)
    clip_norm: float = setting(
        0.0, "Largest global norm of the gradient; 0 turns clipping off.", at_least=0
    )


@dataclasses.dataclass(frozen=True)
class InitialPointSettings(Settings):
    """`config.initial_point`: how the shared initial point follows the solutions."""

    learning_rate: float = setting(
        0.02, "Of its own plain SGD; decays by the same cosine as the task's.", at_least=0
    )
    period: int = setting(20, "It is updated every `period`-th step.", at_least=1)


@dataclasses.dataclass(frozen=True)
class WeightAveragingSettings(Settings):
    """`config.weight_averaging`: an exponential moving average to evaluate and export."""

    momentum: float = setting(
        0.0, "Weight of the past; 0 turns averaging off.", at_least=0, below=1
    )
    start_fraction: float = setting(
        0.0, "Part of all steps after which averaging begins.", at_least=0, below=1
    )


@dataclasses.dataclass(frozen=True)
class TrainingSettings(DataSettings):
    """The whole config of a run."""

    model: ModelSettings = setting(ModelSettings, "The classifier.")
    batch_size: int = setting(64, "Images of one step, over all replicas.", at_least=1)
    epochs: float = setting(
        300.0, "Passes over the training split; a part of one is allowed.", above=0
    )
    seed: int = setting(
        0, "Of the weights, the dropout masks and the order of the data.", at_least=0
    )
    whitened_stem: bool = setting(
        False,
        "Whether the stem's first convolution starts as a whitening of the images' patches "
        "instead of at random.",
    )
    label_smoothing: float = setting(
        0.0, "Share of the target that is spread over all classes.", at_least=0, below=1
    )
    log_every_steps: int = setting(50, "Steps between two lines of metrics.", at_least=1)
    checkpoint_every_steps: int = setting(500, "Steps between two checkpoints.", at_least=1)
    evaluate_every_epochs: int = setting(
        1, "Epochs between two evaluations on validation.", at_least=1
    )
    keep_checkpoints: int = setting(
        2, "How many of the last checkpoints are kept, beside the best one.", at_least=1
    )
    accumulation_steps: int = setting(
        1,
        "Parts of the batch that are gone through one after the other, for one update: the memory "
        "is that of a part, and batch norm sees one part at a time.",
        at_least=1,
    )
    non_finite: str = setting(
        "stop", "What becomes of a step with a non-finite loss or gradient.", choices=POLICIES
    )
    precision: str = setting(
        "float32",
        "What the convolutions compute in; with mixed_float16 under a dynamic loss scale.",
        choices=PRECISIONS,
    )
    jit_compile: bool = setting(
        False,
        "Whether XLA compiles the training step: for GPUs, since on a CPU it is slower. It draws "
        "other random numbers for dropout, and a solve that fails makes a non-finite loss.",
    )
    export_step_control: str = setting(
        "sample",
        "How the exported model's solver steps; with \"sample\" an image's answer does not depend "
        "on the images beside it.",
        choices=STEP_CONTROLS,
    )
    optimizer: OptimizerSettings = setting(OptimizerSettings, "The task's optimiser.")
    initial_point: InitialPointSettings = setting(
        InitialPointSettings, "The initial point's updates."
    )
    weight_averaging: WeightAveragingSettings = setting(
        WeightAveragingSettings, "The average of the weights."
    )
