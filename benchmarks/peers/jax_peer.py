# SPDX-License-Identifier: Apache-2.0
"""The same HomoODE in JAX with diffrax."""

from functools import partial

import diffrax
import equinox
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import reference_model as facts
from benchmarks.peers import PeerSpec


def _convolution_lax(x, kernel, stride):
    pad = kernel.shape[0] // 2
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), [(pad, pad)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _convolution_shifts(x, kernel, stride):
    """The same as a sum of matrix products over the kernel's positions."""
    size = kernel.shape[0]
    pad = size // 2
    height, width = -(-x.shape[1] // stride), -(-x.shape[2] // stride)
    padded = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    result = 0.0
    for i in range(size):
        for j in range(size):
            rows = slice(i, i + stride * (height - 1) + 1, stride)
            columns = slice(j, j + stride * (width - 1) + 1, stride)
            result += jnp.einsum("nhwc,cd->nhwd", padded[:, rows, columns], kernel[i, j])
    return result


_CONVOLUTIONS = {"lax": _convolution_lax, "shifts": _convolution_shifts}


def _group_norm(x, gamma, beta):
    """Moments of each channel first, then their means over the channels of a group."""
    size = facts.CHANNELS // facts.GROUPS

    def over_groups(moment):
        grouped = moment.reshape(-1, facts.GROUPS, size).mean(-1)
        return jnp.repeat(grouped, size, axis=-1)

    mean = over_groups(x.mean((1, 2)))
    variance = over_groups(jnp.square(x).mean((1, 2))) - jnp.square(mean)
    scale = gamma * jax.lax.rsqrt(variance + facts.EPSILON)
    return x * scale[:, None, None] + (beta - mean * scale)[:, None, None]


class _Classifier(equinox.Module):
    """Normalised image, stem, HomoODE, head; weights and moments come as dictionaries."""

    convolution: str = equinox.field(static=True)
    tolerance: float = equinox.field(static=True)
    first_step_size: float | None = equinox.field(static=True)
    max_steps: int = equinox.field(static=True)
    adjoint: diffrax.AbstractAdjoint = equinox.field(static=True)

    def _convolve(self, weights, name, x, stride=1):
        convolution = _CONVOLUTIONS[self.convolution]
        return convolution(x, weights[f"{name}.kernel"], stride) + weights[f"{name}.bias"]

    def _batch_norm(self, weights, moments, name, x, training):
        """Returns the normalised x and the moments after it."""
        mean, variance = (moments[f"{name}.moving_{each}"] for each in ("mean", "variance"))
        after = {}
        if training:
            share = 1.0 - facts.BATCH_NORM_MOMENTUM
            batch_mean = x.mean((0, 1, 2))
            batch_variance = jnp.square(x).mean((0, 1, 2)) - jnp.square(batch_mean)
            after[f"{name}.moving_mean"] = mean + share * (batch_mean - mean)
            after[f"{name}.moving_variance"] = variance + share * (batch_variance - variance)
            mean, variance = batch_mean, batch_variance
        scale = weights[f"{name}.gamma"] * jax.lax.rsqrt(variance + facts.EPSILON)
        return x * scale + (weights[f"{name}.beta"] - mean * scale), after

    def _field(self, _, z, arguments):
        weights, x = arguments
        y = self._convolve(weights, "dynamics.conv1", z)
        y = _group_norm(y, weights["dynamics.norm1.gamma"], weights["dynamics.norm1.beta"])
        y = self._convolve(weights, "dynamics.conv2", jax.nn.relu(y) + x)
        return _group_norm(y, weights["dynamics.norm2.gamma"], weights["dynamics.norm2.beta"])

    def _solve(self, weights, x):
        """Returns z(1) and the number of steps, rejected ones included."""
        of_dynamics = {n: w for n, w in weights.items() if n.startswith("dynamics.")}
        z0 = jnp.broadcast_to(facts.initial_point(), x.shape)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(self._field),
            diffrax.Dopri5(),
            t0=0.0,
            t1=1.0,
            dt0=self.first_step_size,
            y0=z0,
            args=(of_dynamics, x),
            stepsize_controller=diffrax.PIDController(rtol=self.tolerance, atol=self.tolerance),
            adjoint=self.adjoint,
            max_steps=self.max_steps,
        )
        return solution.ys[0], solution.stats["num_steps"]

    def __call__(self, weights, moments, images, training):
        """Returns logits, batch norm moments after the batch, and the number of steps."""
        x = (images.astype(jnp.float32) / 255.0 - jnp.array(facts.MEAN)) / jnp.array(facts.STD)
        after = {}
        for number, stride in ((1, 1), (2, 2)):
            x = self._convolve(weights, f"stem.conv{number}", x, stride)
            x, changed = self._batch_norm(weights, moments, f"stem.norm{number}", x, training)
            x = jax.nn.relu(x)
            after |= changed
        z, num_steps = self._solve(weights, x)
        y = _group_norm(z, weights["head.state_norm.gamma"], weights["head.state_norm.beta"])
        y = self._convolve(weights, "head.conv", jax.nn.relu(y))
        y, changed = self._batch_norm(weights, moments, "head.norm", y, training)
        pooled = jax.nn.relu(y).mean((1, 2))
        logits = pooled @ weights["head.logits.kernel"] + weights["head.logits.bias"]
        return logits, after | changed, num_steps


def _evaluations(num_steps) -> int:
    """One to start, then six a step: the last stage is the first of the next step."""
    return 1 + 6 * int(num_steps)


def _loss(weights, moments, images, labels, model):
    logits, after, num_steps = model(weights, moments, images, True)
    log_probabilities = jax.nn.log_softmax(logits)
    picked = jnp.take_along_axis(log_probabilities, labels[:, None], axis=1)
    return -picked.mean(), (after, num_steps)


def _adam(weights, gradients, moments, count):
    """One step of Adam; `moments` are its running means of g and of g^2."""
    first, second = moments
    b1, b2 = facts.ADAM["beta_1"], facts.ADAM["beta_2"]
    first = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, first, gradients)
    second = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, second, gradients)
    rate = facts.LEARNING_RATE * jnp.sqrt(1 - b2**count) / (1 - b1**count)
    weights = jax.tree.map(
        lambda w, m, v: w - rate * m / (jnp.sqrt(v) + facts.ADAM["epsilon"]),
        weights,
        first,
        second,
    )
    return weights, (first, second)


class Peer:
    """Variants "checkpoint" (diffrax's default adjoint) and "backsolve" (the continuous adjoint).

    Settings:
        convolution: "lax" or "shifts".
        max_steps: Bound on the number of steps, from which the default adjoint derives how many
            states it keeps room for.
        first_step_size: None leaves the choice to diffrax, which then begins with 0.01.

    Raises:
        ValueError: If fixed steps are asked for: only the adaptive solve is written here.
    """

    def __init__(self, spec: PeerSpec, weights: dict[str, np.ndarray]):
        if spec.num_steps is not None:
            raise ValueError(f"num_steps must be None for {spec.name}, got {spec.num_steps}.")
        self.versions = {"jax": jax.__version__, "diffrax": diffrax.__version__}
        self._initial = weights
        adjoint = {
            "checkpoint": diffrax.RecursiveCheckpointAdjoint,
            "backsolve": diffrax.BacksolveAdjoint,
        }[spec.variant]()
        model = _Classifier(
            convolution=spec.settings.get("convolution", "lax"),
            tolerance=spec.tolerance,
            first_step_size=spec.settings.get("first_step_size"),
            max_steps=spec.settings.get("max_steps", 4096),
            adjoint=adjoint,
        )
        gradient = jax.value_and_grad(partial(_loss, model=model), has_aux=True)

        @jax.jit
        def forward(weights, moments, images):
            logits, _, num_steps = model(weights, moments, images, False)
            return logits, num_steps

        @partial(jax.jit, donate_argnums=(0,))
        def step(state, images, labels):
            weights, moments, adam, count = state
            (loss, (moments, num_steps)), gradients = gradient(weights, moments, images, labels)
            weights, adam = _adam(weights, gradients, adam, count + 1.0)
            return (weights, moments, adam, count + 1.0), loss, num_steps

        self._forward, self._step, self._gradient = forward, step, jax.jit(gradient)
        self._evaluations = (0, 0)
        self._repeats_steps = spec.variant == "checkpoint"
        self.reset()

    def place(self, images, labels):
        return jnp.asarray(images), jnp.asarray(labels.astype(np.int32))

    def forward(self, batch):
        weights, moments, _, _ = self._state
        logits, num_steps = self._forward(weights, moments, batch[0])
        logits = np.asarray(logits)
        self._evaluations = (_evaluations(num_steps), self._evaluations[1])
        return logits

    def step(self, batch):
        self._state, loss, num_steps = jax.block_until_ready(self._step(self._state, *batch))
        count = _evaluations(num_steps)
        # The checkpointed derivative computes every step once more, as counting by a callback in F
        # showed; what the backward solve of the continuous adjoint did, diffrax does not tell.
        self._evaluations = (count, count if self._repeats_steps else None)
        return float(loss)

    def gradients(self, batch):
        weights, moments, _, _ = self._state
        _, gradients = self._gradient(weights, moments, *batch)
        return {name: np.asarray(gradient) for name, gradient in gradients.items()}

    def evaluations(self):
        return self._evaluations

    def reset(self):
        def copied(trainable):
            # Donated buffers must not be those of another argument or of NumPy.
            return {
                n: jnp.array(w, copy=True)
                for n, w in self._initial.items()
                if facts.is_trainable(n) == trainable
            }

        weights = copied(True)
        adam = tuple(jax.tree.map(jnp.zeros_like, weights) for _ in range(2))
        self._state = (weights, copied(False), adam, jnp.zeros([]))
