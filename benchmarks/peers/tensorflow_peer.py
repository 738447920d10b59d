# SPDX-License-Identifier: Apache-2.0
"""This project's HomoODE, with its own solvers or with TensorFlow Probability's, and its DEQ."""

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from benchmarks import reference_model as facts
from benchmarks import reporting
from benchmarks.peers import PeerSpec
from configs import cifar10
from homoode_tf import layers, models, solvers
from homoode_tf.solvers import fixed_point


class Peer:
    """Variants "backprop", "checkpoint", "adjoint" and "bfloat16" of ours; "adjoint" of TFP.

    Where the spec's method is a fixed-point solver, the variants are the DEQ's "implicit",
    "phantom" and "jacobian_free".

    Settings:
        onednn: Whether TensorFlow uses oneDNN's kernels (set in the environment).
        jit_forward: Whether the forward pass is compiled by XLA.
        jit_step: Whether the training step is, and the gradient; never among the settings that are
            tried on a CPU, where XLA's derivative of a convolution is many times slower.
        precision: Keras's dtype policy of all layers.
        gradient: How the solver differentiates, where the variant's name does not say it.
        max_num_steps: Of the solver; XLA must know a bound.
    """

    def __init__(self, spec: PeerSpec, weights: dict[str, np.ndarray]):
        tf.config.threading.set_intra_op_parallelism_threads(spec.threads)
        self.versions = {
            "tensorflow": tf.__version__,
            "tensorflow_probability": tfp.__version__,
        }
        self._weights = weights
        self.model = _build_model(spec)
        self._variables = _variables_by_name(self.model)
        self._trained = {n: v for n, v in self._variables.items() if facts.is_trainable(n)}
        self._optimizer = keras.optimizers.Adam(facts.LEARNING_RATE, **facts.ADAM)
        self._optimizer.build(list(self._trained.values()))
        self.reset()
        trained = list(self._trained.values())

        def loss_and_gradients(images, labels):
            with tf.GradientTape() as tape:
                logits = self.model(images, training=True)
                loss = tf.reduce_mean(
                    tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
                )
            return loss, tape.gradient(loss, trained)

        def step(images, labels):
            loss, gradients = loss_and_gradients(images, labels)
            self._optimizer.apply(gradients, trained)
            return loss

        self._forward = tf.function(
            lambda images: self.model(images, training=False),
            autograph=False,
            jit_compile=spec.settings.get("jit_forward", False),
        )
        jit_step = spec.settings.get("jit_step", False)
        self._step = tf.function(step, autograph=False, jit_compile=jit_step)
        self._gradients = tf.function(loss_and_gradients, autograph=False, jit_compile=jit_step)

    def place(self, images, labels):
        return tf.constant(images), tf.constant(labels)

    def forward(self, batch):
        return self._forward(batch[0]).numpy()

    def step(self, batch):
        return float(self._step(*batch).numpy())

    def gradients(self, batch):
        _, gradients = self._gradients(*batch)
        return {name: g.numpy() for name, g in zip(self._trained, gradients, strict=True)}

    def evaluations(self):
        layer = self.model.implicit
        return int(layer.forward_nfe.numpy()), int(layer.backward_nfe.numpy())

    def device(self):
        gpus = tf.config.list_physical_devices("GPU")
        if not gpus:
            return {"name": f"CPU, {reporting.machine()['processor']}", "peak_mib": None}
        details = tf.config.experimental.get_device_details(gpus[0])
        memory = tf.config.experimental.get_memory_info("GPU:0")
        return {"name": details.get("device_name", "GPU"), "peak_mib": memory["peak"] / 2**20}

    def reset(self):
        for name, variable in self._variables.items():
            variable.assign(self._weights[name])
        step_size = getattr(self.model.implicit, "step_size", None)
        for variable in [*self._optimizer.variables, *([] if step_size is None else [step_size])]:
            # The learning rate is one of the optimizer's variables.
            if variable is not self._optimizer._learning_rate:
                variable.assign(tf.zeros(variable.shape, variable.dtype))


def _build_model(spec: PeerSpec) -> models.ImageClassifier:
    """The classifier of `configs/cifar10.py`, without dropout and with a fixed initial point."""
    config = cifar10.get_config().model
    momentum, dtype = config.batch_norm_momentum, _dtype(spec)
    model = models.ImageClassifier(
        models.Stem(config.channels, config.stem_strides, momentum, dtype=dtype),
        make_implicit(spec),
        models.Head(config.head_channels, facts.NUM_CLASSES, config.groups, momentum, dtype=dtype),
        mean=facts.MEAN,
        std=facts.STD,
    )
    model.build((None, *facts.IMAGE_SHAPE))
    return model


def make_implicit(spec: PeerSpec) -> layers.HomoODE | layers.DEQ:
    """The implicit layer of `configs/cifar10.py`, with the solver and the gradient of a spec."""
    config = cifar10.get_config().model
    dtype = _dtype(spec)
    dynamics = layers.ConvDynamics(config.channels, config.groups, dropout_rate=0.0, dtype=dtype)
    by_name = {"rtol": spec.tolerance, "atol": spec.tolerance, "gradient": spec.gradient}
    if spec.method in fixed_point.names():
        if not spec.tolerance:
            by_name = {"gradient": spec.gradient}
        layer = layers.DEQ(
            dynamics,
            solver=spec.method,
            max_num_iterations=spec.num_steps,
            initial_point="alternating",
            on_failure="return",
            dtype=dtype,
            **by_name,
        )
        if not spec.tolerance:  # which a solver refuses: all iterations are wanted
            layer.solver.rtol = layer.solver.atol = 0.0
        return layer
    solver = _solver_object(spec)
    by_name["max_num_steps"] = spec.settings.get("max_num_steps", config.max_num_steps)
    return layers.HomoODE(
        dynamics,
        solver=solver or config.solver,
        final_time=config.final_time,
        initial_point="alternating",
        dtype=dtype,
        # A solver that is an object has its own tolerances and gradient.
        **({} if solver else by_name),
    )


def _dtype(spec: PeerSpec) -> str:
    return spec.settings.get("precision", "float32")


def _solver_object(spec: PeerSpec) -> tfp.math.ode.Solver | None:
    """The solver, where a name and tolerances do not say it all."""
    if spec.framework == "tfp":
        # TFP's default first step, 1e-3, would cost many steps more; 0.05 is its best here.
        return tfp.math.ode.DormandPrince(
            rtol=spec.tolerance, atol=spec.tolerance, first_step_size=0.05
        )
    if spec.num_steps is not None:
        return solvers.get(spec.method, num_steps=spec.num_steps, gradient=spec.gradient)
    return None


def _variables_by_name(model: models.ImageClassifier) -> dict[str, keras.Variable]:
    """The model's variables under the names of `reference_model.make_weights`."""
    stem, dynamics, head = model.stem, model.implicit.dynamics, model.head
    parts = {
        "stem.conv1": stem.convolutions[0],
        "stem.conv2": stem.convolutions[1],
        "stem.norm1": stem.norms[0],
        "stem.norm2": stem.norms[1],
        "dynamics.conv1": dynamics.conv1,
        "dynamics.conv2": dynamics.conv2,
        "dynamics.norm1": dynamics.norm1,
        "dynamics.norm2": dynamics.norm2,
        "head.state_norm": head.state_norm,
        "head.conv": head.conv,
        "head.norm": head.norm,
        "head.logits": head.logits,
    }
    return {
        f"{part}.{name}": getattr(layer, name)
        for part, layer in parts.items()
        for name in ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")
        if getattr(layer, name, None) is not None
    }
