# SPDX-License-Identifier: Apache-2.0
"""The image classifier: stem, implicit layer, head."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from homoode_tf.checks import check_number


@keras.saving.register_keras_serializable(package="homoode_tf")
class ImageClassifier(keras.Model):
    """Image -> normalised image -> stem -> x; shared z0 and x -> z(T) -> head -> logits.

    Args:
        stem: Layer from images to the condition x.
        implicit: Layer from x to z(T), such as `HomoODE`.
        head: Layer from z(T) to logits.
        mean: Mean of each image channel, in units of pixels scaled to 0..1.
        std: Standard deviation of each image channel, in the same units.
        class_names: Names of the classes, in the order of the logits, where they are known.
        **kwargs: Keras model arguments.

    Call arguments:
        images: uint8 or float tensor of shape (batch, height, width, image channels), in 0..255.
        training: Whether to run in training mode.

    Returns:
        Logits, float32 tensor of shape (batch, number of classes).

    Example:
        >>> from homoode_tf.layers import ConvDynamics, HomoODE
        >>> from homoode_tf.models import Head, Stem
        >>> implicit = HomoODE(ConvDynamics(8, groups=2))
        >>> model = ImageClassifier(Stem(8), implicit, Head(8, 10, groups=2), [0.5], [0.25])
        >>> model(tf.zeros([2, 8, 8, 1], tf.uint8)).shape
        TensorShape([2, 10])
    """

    def __init__(
        self,
        stem: keras.layers.Layer,
        implicit: keras.layers.Layer,
        head: keras.layers.Layer,
        mean: Sequence[float],
        std: Sequence[float],
        class_names: Sequence[str] = (),
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.stem = stem
        self.implicit = implicit
        self.head = head
        for name, values in (("mean", mean), ("std", std)):
            for value in values:
                check_number(name, value)
        self.mean = tuple(float(value) for value in mean)
        self.std = tuple(float(value) for value in std)
        self.class_names = tuple(class_names)
        self.added_loss = keras.metrics.Mean(name="added_loss")

    def build(self, input_shape):
        shape = tuple(input_shape)  # a list where it comes from a `.keras` file
        for part in (self.stem, self.implicit, self.head):
            if not part.built:  # the parts of a loaded model come built
                part.build(shape)
            shape = part.compute_output_shape(shape)

    def call(self, images, training=False):
        if images.shape[0] == 0:
            # TensorFlow's fused convolutions answer nothing with a wrong shape: ask about one image
            # and drop the answer.
            return self.call(tf.zeros([1, *images.shape[1:]], images.dtype))[:0]
        condition = self.condition(images, training=training)
        final_state = self.implicit(condition, training=training)
        return self.head(final_state, training=training)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.head.num_classes)

    def condition(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns x for images of 0..255: what the implicit layer is called with."""
        return self.stem(self.normalise(images), training=training)

    def normalise(self, images: tf.Tensor) -> tf.Tensor:
        """Returns images of 0..255 as float32 with zero mean and unit deviation a channel."""
        # Of arrays and Keras's operations, so that it takes a `keras.Input` as well.
        mean, std = np.asarray(self.mean, "float32"), np.asarray(self.std, "float32")
        return (keras.ops.cast(images, "float32") / 255.0 - mean) / std

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Returns a loss whose value is the task's alone, and whose gradient is that of all.

        What layers add (the initial point's loss, a DEQ's penalty, a regulariser's) is the metric
        `added_loss` of `fit`.
        """
        total = super().compute_loss(x, y, y_pred, sample_weight, training)
        added = tf.add_n([tf.zeros([]), *(tf.cast(loss, tf.float32) for loss in self.losses)])
        self.added_loss.update_state(added)
        return total - tf.cast(tf.stop_gradient(added), total.dtype)

    def test_step(self, data):
        # Layers add their losses in training.
        logs = super().test_step(data)
        return {name: value for name, value in logs.items() if name != self.added_loss.name}

    @property
    def initial_point_variables(self) -> list[keras.Variable]:
        """Trainable variables of the initial point; empty where there is none to train."""
        initial_point = getattr(self.implicit, "initial_point", None)
        return [] if initial_point is None else initial_point.trainable_variables

    @property
    def task_variables(self) -> list[keras.Variable]:
        """All other trainable variables: those that the task's loss trains."""
        own = {id(variable) for variable in self.initial_point_variables}
        return [variable for variable in self.trainable_variables if id(variable) not in own]

    @property
    def initial_point_parameters(self) -> int:
        """Number of trainable parameters of the initial point."""
        return _count(self.initial_point_variables)

    @property
    def task_parameters(self) -> int:
        """Number of trainable parameters beside the initial point's."""
        return _count(self.task_variables)

    def get_config(self):
        parts = {
            name: keras.saving.serialize_keras_object(getattr(self, name))
            for name in ("stem", "implicit", "head")
        }
        values = {name: getattr(self, name) for name in ("mean", "std", "class_names")}
        return {**super().get_config(), **parts, **values}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        for name in ("stem", "implicit", "head"):
            config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)


def _count(variables: list[keras.Variable]) -> int:
    return sum(int(tf.reduce_prod(variable.shape)) for variable in variables)
