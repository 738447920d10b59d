# SPDX-License-Identifier: Apache-2.0
"""A data set and a model of the real ones' interface, small enough to train in milliseconds."""

import types

import keras
import ml_collections
import numpy as np
import tensorflow as tf

from homoode_tf.data import DataInfo
from homoode_tf.training import loop, run
from homoode_tf.training.settings import TrainingSettings
from homoode_tf.training.state import TrainState

NUM_TRAIN, NUM_VALIDATION, NUM_TEST = 40, 13, 21


class FakeImages:
    """Three classes of noisy 4x4 images; batch k depends on (seed, k) only."""

    info = DataInfo(
        name="fake",
        image_shape=(4, 4, 1),
        num_classes=3,
        class_names=("a", "b", "c"),
        mean=(0.5,),
        std=(0.25,),
        num_train=NUM_TRAIN,
        num_validation=NUM_VALIDATION,
        num_test=NUM_TEST,
    )

    def __init__(self):
        random = np.random.default_rng(0)
        patterns = random.uniform(0, 200, (3, 4, 4, 1))
        self._parts = {}
        for name, number in (
            ("train", NUM_TRAIN),
            ("validation", NUM_VALIDATION),
            ("test", NUM_TEST),
        ):
            labels = random.integers(0, 3, number)
            images = patterns[labels] + random.uniform(0, 120, (number, 4, 4, 1))
            self._parts[name] = images.clip(0, 255).astype(np.uint8), labels.astype(np.int64)

    def train_batches(
        self, batch_size, *, seed, num_steps, first_step=0, augmentation=None, shard=(0, 1)
    ):
        del augmentation
        images, labels = self._parts["train"]
        batches = []
        for step in range(first_step, num_steps):
            chosen = np.random.default_rng((seed, step)).permutation(NUM_TRAIN)[:batch_size]
            batches.append(np.array_split(chosen, shard[1])[shard[0]])
        batches = np.array(batches, np.int64).reshape(-1, batch_size // shard[1])
        dataset = tf.data.Dataset.from_tensor_slices(batches)
        dataset = dataset.map(lambda chosen: (tf.gather(images, chosen), tf.gather(labels, chosen)))
        return _without_auto_shard(dataset)

    def evaluation_batches(self, split, batch_size, shard=(0, 1)):
        worker = -(-batch_size // shard[1])
        dataset = tf.data.Dataset.from_tensor_slices(self._parts[split]).batch(worker)
        dataset = dataset.shard(shard[1], shard[0])
        return _without_auto_shard(dataset)


def _without_auto_shard(dataset):
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options)


class FakeModel(keras.Model):
    """A dense network with an initial point, an added loss, NFE counts, dropout, batch norm."""

    def __init__(self, num_classes, dropout_rate=0.5, batch_norm=True):
        super().__init__()
        self.hidden = [keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(8)]
        self.norm = keras.layers.BatchNormalization(momentum=0.9) if batch_norm else None
        self.dropout = keras.layers.Dropout(dropout_rate)
        self.logits = keras.layers.Dense(num_classes)
        self.implicit = types.SimpleNamespace()

    def build(self, input_shape):
        size = int(np.prod(input_shape[1:]))
        self.hidden[0].build((None, size))
        self.hidden[1].build((None, 8))
        self.logits.build((None, 8))
        if self.norm is not None:
            self.norm.build((None, 8))
        self.point = self.add_weight(shape=(8,), initializer="ones", name="point")
        for name in ("forward_nfe", "backward_nfe"):
            variable = self.add_weight(
                shape=(), dtype="int32", initializer="zeros", trainable=False, name=name
            )
            setattr(self.implicit, name, variable)
        self.built = True

    def call(self, images, training=False):
        x = tf.reshape(tf.cast(images, tf.float32) / 255.0 - 0.5, (tf.shape(images)[0], -1))
        x = self.hidden[0](x, training=training)
        if self.norm is not None:
            x = self.norm(x, training=training)
        x = self.hidden[1](self.dropout(x, training=training), training=training)
        self.implicit.forward_nfe.assign(14)
        self.implicit.backward_nfe.assign(20)
        if training:
            distance = tf.stop_gradient(x) - tf.convert_to_tensor(self.point)
            self.add_loss(tf.reduce_mean(tf.square(distance)))
        return self.logits(x + tf.stop_gradient(tf.convert_to_tensor(self.point)))

    def save(self, path):
        path.write_text("a model")

    @property
    def initial_point_variables(self):
        return [self.point]

    @property
    def task_variables(self):
        return [v for v in self.trainable_variables if v is not self.point]

    @property
    def initial_point_parameters(self):
        return 8

    @property
    def task_parameters(self):
        return sum(int(np.prod(v.shape)) for v in self.task_variables)


def build_model(settings, image_shape, num_classes, mean, std, precision="float32", class_names=()):
    del mean, std, precision, class_names
    model = FakeModel(num_classes, settings.dropout_rate, settings.batch_norm_momentum > 0)
    model.build((None, *image_shape))
    return model


def save_model(model, directory, image_shape, class_names, step_control):
    del image_shape, class_names, step_control
    directory.mkdir()
    model.save_weights(directory / "model.weights.h5")


def install(set_attribute):
    """Puts the fakes in the place of the real parts; `set_attribute` is like `setattr`."""
    set_attribute(run.data, "load", lambda *_, **__: FakeImages())
    set_attribute(run.models, "build", build_model)
    set_attribute(run.export, "save", save_model)


def after_each_step(set_attribute, do):
    """Lets `do` be called with the state after each training step."""
    make = loop.make_train_step

    def make_train_step(state, *arguments):
        train_step = make(state, *arguments)

        def step_and_more(batches):
            train_step(batches)
            do(state)

        return step_and_more

    set_attribute(loop, "make_train_step", make_train_step)


def config(**changes):
    """A config for the fakes; `changes` are dotted names with `__` for the dot."""
    values = ml_collections.ConfigDict(
        {
            "dataset": "fake",
            "validation_fraction": 0.1,
            "augmentation": {"crop_padding": 0, "flip_probability": 0.0},
            "batch_size": 8,
            "epochs": 4,
            "seed": 1,
            "label_smoothing": 0.0,
            "model": {"dropout_rate": 0.5, "batch_norm_momentum": 0.9},
            "optimizer": {
                "name": "adam",
                "learning_rate": 1e-2,
                "final_learning_rate": 1e-4,
                "warmup_fraction": 0.0,
                "weight_decay": 0.0,
                "clip_norm": 0.0,
            },
            "initial_point": {"learning_rate": 0.1, "period": 3},
            "weight_averaging": {"momentum": 0.0, "start_fraction": 0.0},
            "log_every_steps": 2,
            "checkpoint_every_steps": 3,
            "evaluate_every_epochs": 1,
            "keep_checkpoints": 2,
        }
    )
    values.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    values.lock()
    return values


def settings(**changes):
    """The same, checked."""
    return TrainingSettings.from_config(config(**changes))


def make_state(strategy, build=build_model, **changes):
    """The state of a run of 20 steps, on a device or more."""
    checked = settings(**changes)
    with strategy.scope():
        model = build(checked.model, (4, 4, 1), 3, (0.5,), (0.25,))
    return TrainState(model, checked, 20, strategy)
