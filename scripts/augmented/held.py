# SPDX-License-Identifier: Apache-2.0
"""The x-part of an Augmented Neural ODE, held: [x, u]' = [0, F(u; x)], which is a HomoODE."""

import os
from typing import Any

import keras
import ml_collections
import tensorflow as tf

from homoode_tf import training
from homoode_tf.layers import AugmentedNeuralODE
from scripts.trained import Trained


@keras.saving.register_keras_serializable(package="homoode_tf_scripts")
class HeldInput(keras.layers.Layer):
    """Dynamics whose first channels stand still: those in which an augmented state has its input.

    Args:
        dynamics: Keras layer called as `dynamics(z)`.
        channels: How many channels stand still.
        **kwargs: Keras layer arguments.

    Call arguments:
        z: State, float tensor of shape (batch, ..., channels in all).
        training: Whether the dynamics drops out.

    Returns:
        dz/dt, of z's shape.
    """

    def __init__(self, dynamics: keras.layers.Layer, channels: int, **kwargs):
        super().__init__(**{"dtype": dynamics.dtype_policy, **kwargs})
        self.dynamics, self.channels = dynamics, channels

    def build(self, z_shape):
        if not self.dynamics.built:
            self.dynamics.build(z_shape)

    def call(self, z, training=False):
        slopes = self.dynamics(z, training=training)
        still = tf.zeros_like(slopes[..., : self.channels])
        return tf.concat([still, slopes[..., self.channels :]], axis=-1)

    def compute_output_shape(self, z_shape):
        return z_shape

    def get_config(self):
        dynamics = keras.saving.serialize_keras_object(self.dynamics)
        return {**super().get_config(), "dynamics": dynamics, "channels": self.channels}

    @classmethod
    def from_config(cls, config):
        dynamics = keras.saving.deserialize_keras_object(config["dynamics"])
        return cls(**{**config, "dynamics": dynamics})


def hold(layer: AugmentedNeuralODE, channels: int) -> AugmentedNeuralODE:
    """The same built layer, its weights shared, with its input held."""
    held = AugmentedNeuralODE(
        HeldInput(layer.dynamics, channels),
        layer.extra_channels,
        solver=layer.solver,
        final_time=layer.final_time,
    )
    (spec,) = layer.input_spec
    held.build((*[None] * (spec.ndim - 1), channels))
    if layer.step_size is not None:
        # It begins with the step that training found, too.
        held.step_size.assign(layer.step_size)
    return held


def config_of_held(run: Trained) -> ml_collections.ConfigDict:
    """The run's config with its input held from the first step of training on."""
    model: dict[str, Any] = run.config["model"]
    layer = run.model.implicit
    fresh = type(layer.dynamics).from_config(layer.dynamics.get_config())
    held = HeldInput(fresh, model["channels"] - layer.extra_channels, name="dynamics")
    dynamics = keras.saving.serialize_keras_object(held)
    config = {**run.config, "model": {**model, "dynamics": dynamics}}
    return ml_collections.ConfigDict(config).lock()


def train_held(run: Trained, workdir: str | os.PathLike, data_dir: str | None) -> None:
    """Trains that, with the run's seed and on its batches; goes on where it was stopped."""
    training.train(config_of_held(run), workdir, data_dir, "one_device")
