# SPDX-License-Identifier: Apache-2.0
"""CIFAR-10 with the paper's recipe; the other recipes say how they differ from this one.

    python train.py --config=configs/cifar10.py --workdir=runs/cifar10

300 epochs. One epoch, for a first look, is `--config.epochs=1`: test accuracy 50.5 % after ten
minutes on two CPU cores.

Source: Ding et al., NeurIPS 2023, https://arxiv.org/abs/2310.09583, and the code they published.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.dataset = "cifar10"
    config.validation_fraction = 0.02  # 1,000 images; the paper trains on all 50,000
    config.augmentation = ConfigDict({"crop_padding": 4, "flip_probability": 0.2})

    config.model = ConfigDict()
    config.model.layer = "homoode"  # or neural_ode, augmented_neural_ode, deq, resnet
    config.model.channels = 64
    config.model.head_channels = 256
    config.model.stem_strides = (1, 2)
    config.model.groups = 32
    config.model.dropout_rate = 0.1
    config.model.batch_norm_momentum = 0.9
    config.model.synchronized_batch_norm = False  # moments over all replicas
    config.model.solver = "dopri5"
    config.model.rtol = 1e-3
    config.model.atol = 1e-3
    config.model.max_num_steps = 100_000  # of a solve; for jit_compile at most 1024
    config.model.final_time = 1.0
    config.model.gradient = "backprop"
    config.model.step_control = "batch"  # of training; see export_step_control
    config.model.initial_point = "learned"
    config.model.extra_channels = 0  # of an augmented_neural_ode's state
    config.model.num_steps = 7  # of a resnet, and of a solver without step control, as rk4
    config.model.max_num_iterations = 50  # of a deq
    config.model.jacobian_weight = 0.0  # of a deq

    config.batch_size = 64
    config.epochs = 300.0
    config.seed = 0
    config.accumulation_steps = 1  # parts of a batch, one after the other
    config.precision = "float32"  # or mixed_bfloat16, mixed_float16
    config.jit_compile = False  # the training step by XLA; for GPUs
    config.non_finite = "stop"  # or skip
    config.label_smoothing = 0.0
    config.whitened_stem = False
    config.optimizer = ConfigDict()
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.final_learning_rate = 1e-6
    config.optimizer.warmup_fraction = 0.0
    config.optimizer.adam_learning_rate = 1e-3  # of what muon leaves to adam
    config.optimizer.momentum = 0.9  # of sgd and muon
    config.optimizer.nesterov = False
    config.optimizer.beta_2 = 0.999
    config.optimizer.weight_decay = 0.0
    # An average of the weights to evaluate; a momentum of 0 turns it off.
    config.weight_averaging = ConfigDict({"momentum": 0.0, "start_fraction": 0.0})
    # The initial point's own SGD, every `period`-th step.
    config.initial_point = ConfigDict({"learning_rate": 0.02, "period": 20})

    config.log_every_steps = 50
    config.checkpoint_every_steps = 500
    config.evaluate_every_epochs = 1
    config.keep_checkpoints = 2
    # "sample": an exported model's answer does not depend on the images beside it.
    config.export_step_control = "sample"
    return config
