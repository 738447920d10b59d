# SPDX-License-Identifier: Apache-2.0
import importlib
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf import layers, models, solvers
from homoode_tf.data import catalog
from homoode_tf.solvers import fixed_point

PARAMETERS = {
    "cifar10": 132_938,
    "cifar10_fast": 132_938,
    "cifar100": 565_988,
    "tiny_imagenet": 617_288,
    "svhn_cropped": 132_938,
    "mnist": 131_786,
    "fashion_mnist": 131_786,
    "digits": 131_786,
}


def build(recipe):
    config = importlib.import_module(f"configs.{recipe}").get_config()
    info = catalog.find(config.dataset)
    return models.build(config.model, info.image_shape, info.num_classes, info.mean, info.std)


@pytest.mark.parametrize("recipe", PARAMETERS)
def test_number_of_parameters(recipe):
    """The counts of the paper's models; one image channel less takes 2 * 9 * 64 weights away."""
    model = build(recipe)
    channels = model.stem.channels
    assert model.task_parameters == PARAMETERS[recipe]
    assert model.initial_point_parameters in (0, channels)
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert trainable == model.task_parameters + model.initial_point_parameters


@pytest.fixture(scope="module")
def tiny():
    config = importlib.import_module("configs.digits").get_config().model
    config.update({"channels": 4, "head_channels": 6, "groups": 2})
    return models.build(config, (8, 8, 1), 10, mean=[0.3], std=[0.4])


@pytest.fixture(scope="module")
def steady():
    """One whose answers in training do not change from call to call."""
    config = {"channels": 4, "head_channels": 6, "groups": 2, "dropout_rate": 0.0}
    config |= {"solver": "rk4", "num_steps": 1}
    return models.build(config, (8, 8, 1), 10, mean=[0.3], std=[0.4])


def test_the_loss_of_fit_is_the_task_s_alone(steady):
    """The initial point is trained all the same, by a loss with a name of its own."""
    batch, labels = images(8, 8, 8, 1), np.arange(8)
    task = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    point = steady.implicit.initial_point
    before = point.value.numpy()
    expected = float(task(labels, steady(batch, training=True)))
    added = float(sum(steady.losses))
    steady.compile(keras.optimizers.SGD(0.1), task, metrics=["accuracy"])
    history = steady.fit(batch, labels, batch_size=8, verbose=0).history
    assert history["loss"] == pytest.approx([expected], rel=1e-5)
    assert history["added_loss"] == pytest.approx([added], rel=1e-5) and added > 0.1
    assert np.abs(point.value.numpy() - before).max() > 1e-4
    loss, accuracy = steady.evaluate(batch, labels, verbose=0)
    assert loss == pytest.approx(float(task(labels, steady(batch))), rel=1e-4)
    assert 0.0 <= accuracy <= 1.0


def test_a_frozen_stem_keeps_its_moments(steady):
    steady.stem.trainable = False
    try:
        before = [variable.numpy() for variable in steady.stem.weights]
        steady(images(8, 8, 8, 1), training=True)
        for variable, value in zip(steady.stem.weights, before, strict=True):
            np.testing.assert_array_equal(variable.numpy(), value, variable.path)
    finally:
        steady.stem.trainable = True


def images(*shape):
    return tf.constant(np.random.default_rng(0).integers(0, 256, shape), tf.uint8)


def test_uint8_and_float_images_give_the_same_logits(tiny):
    batch = images(3, 8, 8, 1)
    logits = tiny(batch)
    assert logits.shape == (3, 10) and logits.dtype == tf.float32
    np.testing.assert_array_equal(tiny(tf.cast(batch, tf.float32)), logits)


def test_does_not_depend_on_keras_s_image_data_format(tiny):
    keras.config.set_image_data_format("channels_first")
    try:
        config = importlib.import_module("configs.digits").get_config().model
        config.update({"channels": 4, "head_channels": 6, "groups": 2})
        other = models.build(config, (8, 8, 1), 10, mean=[0.3], std=[0.4])
        other.set_weights(tiny.get_weights())
        np.testing.assert_array_equal(other(images(3, 8, 8, 1)), tiny(images(3, 8, 8, 1)))
    finally:
        keras.config.set_image_data_format("channels_last")


def test_its_parts_go_into_a_functional_model(tiny):
    inputs = keras.Input((8, 8, 1))
    part = keras.Model(inputs, tiny.implicit(tiny.condition(inputs)))
    images = np.arange(128, dtype=np.uint8).reshape(2, 8, 8, 1)
    np.testing.assert_allclose(part(images), tiny.implicit(tiny.condition(images)), atol=1e-6)


def test_normalises_its_input(tiny):
    seen = []
    stem = tiny.stem
    original = stem.call
    stem.call = lambda x, training=False: seen.append(x) or original(x, training)
    try:
        tiny(tf.fill([1, 8, 8, 1], 255.0))
    finally:
        stem.call = original
    np.testing.assert_allclose(seen[0], np.full((1, 8, 8, 1), (1 - 0.3) / 0.4), rtol=1e-6)


def test_stem_pads_one_pixel_on_every_side():
    """Keras's "same" padding of a stride-2 convolution would pad an even image on one side."""
    stem = models.Stem(2, strides=(1, 2))
    stem(tf.zeros([1, 6, 6, 1]))
    first, second = stem.convolutions
    first.kernel.assign(np.eye(9).reshape(3, 3, 1, 9)[..., 4:5].repeat(2, -1))
    second.kernel.assign(np.ones((3, 3, 2, 2)) * 0.5)
    for convolution in stem.convolutions:
        convolution.bias.assign([0.0, 0.0])
    y = stem(tf.ones([1, 6, 6, 1])) * (1 + 1e-5)
    np.testing.assert_allclose(y[0, :, :, 0], [[4, 6, 6], [6, 9, 9], [6, 9, 9]], rtol=1e-4)


@pytest.mark.parametrize(
    ("pixels", "strides", "state"),
    [(32, (1, 2), 16), (64, (2, 2), 16), (96, (2, 2, 1), 24), (224, (2, 2, 2), 28), (8, (1,), 8)],
)
def test_a_stem_of_any_length_brings_any_size_to_a_state(pixels, strides, state):
    stem = models.Stem(2, strides)
    shape = (1, pixels, pixels, 3)
    assert stem(tf.zeros(shape)).shape == stem.compute_output_shape(shape) == (1, state, state, 2)
    assert len(models.Stem.from_config(stem.get_config()).convolutions) == len(strides)
    with pytest.raises(ValueError, match="one to eight numbers, each 1 or 2, got"):
        models.Stem(2, [2] * 9)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("traced", [False, True])
def test_no_images_have_no_answers(tiny, dtype, training, traced):
    call = tf.function(tiny, autograph=False) if traced else tiny
    logits = call(tf.zeros([0, 8, 8, 1], dtype), training=training)
    assert logits.shape == (0, 10) and logits.dtype == tf.float32


def test_keras_file_round_trip(tiny, tmp_path):
    batch = images(3, 8, 8, 1)
    tiny.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(batch), tiny(batch))
    assert loaded.task_parameters == tiny.task_parameters


def test_mixed_bfloat16_trains_close_to_float32():
    """Half precision is for the convolutions: weights, gradients and logits are float32."""
    config = importlib.import_module("configs.digits").get_config().model
    config.update({"channels": 4, "head_channels": 6, "groups": 2, "dropout_rate": 0.0})
    results = {}
    for precision in ("float32", "mixed_bfloat16"):
        keras.utils.set_random_seed(0)
        model = models.build(config, (8, 8, 1), 10, [0.3], [0.4], precision)
        with tf.GradientTape() as tape:
            logits = model(images(16, 8, 8, 1), training=True)
            loss = tf.reduce_sum(tf.square(logits))
        variables = [v.value for v in model.task_variables]
        gradients = tape.gradient(loss, variables)
        assert logits.dtype == tf.float32
        assert {g.dtype for g in gradients} == {tf.float32}
        assert model.implicit.dynamics.conv1.compute_dtype == precision.removeprefix("mixed_")
        results[precision] = logits, tf.linalg.global_norm(gradients)
    (logits, norm), (half_logits, half_norm) = results.values()
    np.testing.assert_allclose(half_logits, logits, atol=0.1)
    assert np.abs(half_logits - logits).max() > 0
    np.testing.assert_allclose(half_norm, norm, rtol=0.1)


@pytest.mark.parametrize("layer", models.LAYERS)
def test_every_member_of_the_family_has_gradients_and_counts(layer):
    config = importlib.import_module("configs.digits").get_config().model
    config.update({"channels": 4, "head_channels": 6, "groups": 2, "layer": layer})
    if layer == "deq":
        config.update({"solver": "anderson", "gradient": "implicit"})
    if layer == "augmented_neural_ode":
        config.extra_channels = 2
    model = models.build(config, (8, 8, 1), 10, [0.3], [0.4])
    with tf.GradientTape() as tape:
        logits = model(images(4, 8, 8, 1), training=True)
        loss = tf.reduce_sum(tf.square(logits))
    gradients = tape.gradient(loss, [v.value for v in model.task_variables])
    assert logits.shape == (4, 10)
    assert all(np.isfinite(g).all() for g in gradients)
    assert int(model.implicit.forward_nfe) > 0 and int(model.implicit.backward_nfe) > 0
    assert (model.initial_point_parameters > 0) == (layer in ("homoode", "deq"))


def test_a_resnet_is_residual_blocks_with_shared_weights():
    config = importlib.import_module("configs.digits").get_config().model
    config.update({"channels": 4, "groups": 2, "layer": "resnet", "num_steps": 3})
    model = models.build(config, (8, 8, 1), 10, [0.3], [0.4])
    x = tf.random.normal([2, 8, 8, 4])
    z = x
    for _ in range(3):
        z += model.implicit.dynamics(z)
    np.testing.assert_allclose(model.implicit(x), z, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layer", ["homoode", "neural_ode", "augmented_neural_ode"])
def test_a_solver_without_step_control_takes_so_many_equal_steps(layer):
    config = importlib.import_module("configs.digits").get_config().model
    config.update({"channels": 4, "groups": 2, "layer": layer, "solver": "rk4", "num_steps": 3})
    model = models.build(config, (8, 8, 1), 10, [0.3], [0.4])
    model(tf.zeros([2, 8, 8, 1]))
    assert int(model.implicit.forward_nfe) == 12


def test_an_adaptive_solver_takes_no_more_steps_than_it_may():
    config = importlib.import_module("configs.digits").get_config().model
    config.update({"channels": 4, "groups": 2, "rtol": 1e-6, "atol": 1e-6, "max_num_steps": 2})
    model = models.build(config, (8, 8, 1), 10, [0.3], [0.4])
    with pytest.raises(ArithmeticError, match="raise max_num_steps"):
        model(images(2, 8, 8, 1))
    assert model.implicit.supports_jit
    del config["max_num_steps"]  # as in a config of a run made before it was
    unbounded = models.build(config, (8, 8, 1), 10, [0.3], [0.4])
    assert not unbounded.implicit.supports_jit


def test_unknown_layers_are_refused():
    config = importlib.import_module("configs.digits").get_config().model
    config.layer = "resnet50"
    with pytest.raises(ValueError, match=r"config.model.layer must be one of homoode, neural_ode"):
        models.build(config, (8, 8, 1), 10, [0.3], [0.4])
    config.update({"layer": "augmented_neural_ode", "extra_channels": 64})
    with pytest.raises(ValueError, match="extra_channels must be below channels=64"):
        models.build(config, (8, 8, 1), 10, [0.3], [0.4])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("channels", 10**9, "an integer at least 1 and below"),
        ("channels", 2.5, "an integer"),
        ("groups", 5, "must divide channels=64"),
        ("groups", 0, "at least 1"),
        ("stem_strides", (0, 1), "one to eight numbers, each 1 or 2"),
        ("stem_strides", 2, "one to eight numbers, each 1 or 2"),
        ("batch_norm_momentum", 2.0, "below 1"),
        ("dropout_rate", "much", "a number"),
        ("synchronized_batch_norm", "no", "True or False"),
        ("rtol", {"a": 1}, "above 0"),
        ("final_time", float("inf"), "at most 3.4e"),
        ("solver", ["dopri5"], "one of euler"),
        ("solver", "anderson", "one of euler"),
        ("initial_point", [], "one of learned"),
        ("jacobian_weight", float("nan"), "at least 0"),
        ("chanels", 64, "the known ones are atol"),
    ],
)
def test_a_wrong_field_is_refused_by_name(field, value, message):
    config = importlib.import_module("configs.digits").get_config().model.to_dict()
    config[field] = value
    with pytest.raises(ValueError) as caught:
        models.build(config, (8, 8, 1), 10, [0.3], [0.4])
    assert field in str(caught.value) and message in str(caught.value)


def test_absent_fields_have_their_defaults():
    model = models.build({"dropout_rate": 0.0}, (8, 8, 1), 10, [0.3], [0.4])
    assert model.implicit.dynamics.dropout_rate == 0.0
    assert model.task_parameters == PARAMETERS["digits"]


@keras.saving.register_keras_serializable("test_models")
class OwnDynamics(keras.layers.Layer):
    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(channels, activation="tanh")

    def build(self, z_shape, x_shape=None):
        self.dense.build(z_shape)

    def call(self, z, x):
        return self.dense(z) + x

    def get_config(self):
        return {**super().get_config(), "channels": self.dense.units}


@keras.saving.register_keras_serializable("test_models")
class OwnLayer(layers.HomoODE):
    def __init__(self, dynamics, final_time=0.5, **kwargs):
        super().__init__(dynamics, final_time=final_time, **kwargs)


@keras.saving.register_keras_serializable("test_models")
class OwnInitialPoint(layers.InitialPoint):
    def build(self, input_shape):
        self.value = np.ones(input_shape[-1], np.float32)


@keras.saving.register_keras_serializable("test_models")
class OwnSolver(solvers.RungeKutta):
    def __init__(self, tableau="bosh3", rtol=1e-3, **kwargs):
        super().__init__(tableau, rtol=rtol, **kwargs)


@keras.saving.register_keras_serializable("test_models")
class OwnFixedPointSolver(fixed_point.Damped):
    pass


DEQ = {"layer": "deq", "gradient": "implicit"}
OWN = {
    "dynamics": (lambda: OwnDynamics(4), "dynamics", {}),
    "layer": (lambda: OwnLayer(layers.ConvDynamics(4, groups=2)), "", {}),
    "initial_point": (OwnInitialPoint, "initial_point", {}),
    "solver": (OwnSolver, "solver", {}),
    "solver of a deq": (OwnFixedPointSolver, "solver", DEQ),
}
FORMS = {
    "object": lambda part: part,
    "name": lambda part: keras.saving.get_registered_name(type(part)),
    "description": keras.saving.serialize_keras_object,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("which", OWN)
def test_parts_of_ones_own_stand_wherever_the_built_in_ones_do(which, form, tmp_path):
    make, where, companions = OWN[which]
    part = make()
    config = importlib.import_module("configs.digits").get_config().model
    config.update({"channels": 4, "head_channels": 6, "groups": 2, **companions})
    config[which.split()[0]] = FORMS[form](part)
    if form != "object":  # as in the config.json of a run
        config = json.loads(json.dumps(config.to_dict()))
    model = models.build(config, (8, 8, 1), 10, [0.3], [0.4])
    found = getattr(model.implicit, where) if where else model.implicit
    assert type(found) is type(part) and (found is part) == (form == "object")
    if form == "name":
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(loaded(images(2, 8, 8, 1)), model(images(2, 8, 8, 1)))


def test_a_class_of_ones_own_gets_the_fields_that_it_takes():
    model = models.build(
        {"layer": "test_models>OwnLayer", "solver": "bosh3", "rtol": 0.5, "final_time": 2.0},
        (8, 8, 1),
        *(10, [0.3], [0.4]),
    )
    assert (model.implicit.final_time, model.implicit.name) == (2.0, "implicit")
    assert model.implicit.solver.settings.rtol == 0.5


def test_a_solver_class_of_ones_own_gets_the_fields_that_it_takes():
    fields = {"solver": "test_models>OwnSolver", "atol": 0.5, "max_num_steps": 9}
    settings = models.build(fields, (8, 8, 1), 10, [0.3], [0.4]).implicit.solver.settings
    assert (settings.atol, settings.max_num_steps, settings.num_steps) == (0.5, 9, None)
    assert settings.gradient == "backprop"


@pytest.mark.parametrize("value", ["test_models>OwnDynamics", "nobody>Nothing", {}, len, 3])
def test_what_is_no_solver_is_refused(value):
    with pytest.raises(ValueError, match=r"config.model.solver must be one of euler.*package>Name"):
        models.build({"solver": value}, (8, 8, 1), 10, [0.3], [0.4])
