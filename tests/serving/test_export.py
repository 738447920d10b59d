# SPDX-License-Identifier: Apache-2.0
import importlib
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from homoode_tf import models
from homoode_tf.layers.serving_scope import serving_scope
from homoode_tf.serving import export

CLASS_NAMES = [f"class {number}" for number in range(10)]


def build(**changes):
    keras.utils.set_random_seed(0)
    config = importlib.import_module("configs.digits").get_config().model
    config.update({"channels": 4, "head_channels": 6, "groups": 2, **changes})
    model = models.build(config, (8, 8, 1), 10, mean=[0.3], std=[0.4])
    model(tf.zeros([16, 8, 8, 1]), training=True)
    return model


@pytest.fixture(scope="module")
def model():
    return build()


@pytest.fixture(scope="module")
def saved_model(model, tmp_path_factory):
    directory = tmp_path_factory.mktemp("export") / "saved_model"
    export.save(model, directory, (8, 8, 1), CLASS_NAMES)
    return directory


def images(count):
    return np.random.default_rng(0).integers(0, 256, (count, 8, 8, 1)).astype(np.uint8)


@pytest.mark.parametrize("count", [1, 5])
def test_agrees_with_the_model(model, saved_model, count):
    loaded = tf.saved_model.load(str(saved_model))
    answer = loaded.signatures["serve"](images=tf.constant(images(count)))
    expected = tf.nn.softmax(model(images(count)))
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-4)  # other steps
    np.testing.assert_array_equal(answer["class"], np.argmax(expected, -1))
    assert [name.decode() for name in loaded.class_names().numpy()] == CLASS_NAMES


def test_loads_where_the_package_cannot_be_imported(model, saved_model, tmp_path):
    np.save(tmp_path / "images.npy", images(4))
    script = textwrap.dedent(f"""
        import sys
        for name in ("homoode_tf", "keras", "tensorflow_probability"):
            sys.modules[name] = None  # importing it is now an ImportError
        import numpy as np, tensorflow as tf
        serve = tf.saved_model.load({str(saved_model)!r}).signatures["serve"]
        images = tf.constant(np.load({str(tmp_path / "images.npy")!r}))
        np.save({str(tmp_path / "answer.npy")!r}, serve(images=images)["probabilities"])
    """)
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, capture_output=True)
    expected = tf.nn.softmax(model(images(4)))
    np.testing.assert_allclose(np.load(tmp_path / "answer.npy"), expected, atol=1e-4)


def test_replaces_an_earlier_export(tmp_path):
    small = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    for names in (CLASS_NAMES, []):
        export.save(small, tmp_path / "saved_model", (8, 8, 1), names)
        loaded = tf.saved_model.load(str(tmp_path / "saved_model"))
        assert hasattr(loaded, "class_names") == bool(names)


@pytest.mark.parametrize(("step_control", "independent"), [("sample", True), ("batch", False)])
def test_answers_do_not_depend_on_batch_mates(tmp_path, step_control, independent):
    """The same image alone, in a batch of 64, and where every neighbour needs other steps."""
    model = build(rtol=1e-2, atol=1e-2)
    # Weights with which images need very different step sizes.
    for norm in (model.implicit.dynamics.norm1, model.implicit.dynamics.norm2):
        norm.gamma.assign(4.0 * norm.gamma)
    calm, wild = images(64), np.zeros((64, 8, 8, 1), np.uint8)
    wild[:, ::2, ::2] = 255
    wild[:1] = calm[:1]
    export.save(model, tmp_path / "saved_model", (8, 8, 1), step_control=step_control)
    serve = tf.saved_model.load(str(tmp_path / "saved_model")).signatures["serve"]
    alone, *others = (
        serve(images=tf.constant(batch))["logits"][0].numpy() for batch in (calm[:1], calm, wild)
    )
    distance = max(np.abs(logits - alone).max() for logits in others)
    assert distance < 1e-5 if independent else distance > 3e-5, distance


def test_begins_with_the_step_size_of_all_replicas(tmp_path):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model = build()
    model.implicit.step_size.assign(0.25)
    export.save(model, tmp_path / "saved_model", (8, 8, 1))
    serve = tf.saved_model.load(str(tmp_path / "saved_model")).signatures["serve"]
    with serving_scope("sample"):
        expected = model(images(3), training=False)
    answer = serve(images=tf.constant(images(3)))
    np.testing.assert_allclose(answer["logits"], expected, atol=1e-5)


@pytest.mark.parametrize("layer", ["homoode", "deq"])
def test_the_graph_is_for_answers_alone(tmp_path, layer):
    """It keeps no states for a gradient, and a request changes nothing that another could see."""
    gradient = "implicit" if layer == "deq" else "checkpoint"
    solver = "anderson" if layer == "deq" else "dopri5"
    model = build(layer=layer, gradient=gradient, solver=solver)
    export.save(model, tmp_path / "saved_model", (8, 8, 1))
    serve = tf.saved_model.load(str(tmp_path / "saved_model")).signatures["serve"]
    graph = serve.graph.as_graph_def()
    nodes = [*graph.node, *(node for body in graph.library.function for node in body.node_def)]
    operations = {node.op for node in nodes}
    assert {"StatelessWhile", "Conv2D"} <= operations
    assert not {name for name in operations if name.startswith(("Assign", "TensorList"))}
    model(images(3), training=False)
    assert int(model.implicit.forward_nfe) > 0  # after the export it counts again


@pytest.mark.parametrize("wrong", [np.zeros((1, 8, 8, 3), np.uint8), np.zeros((8, 8, 1), np.uint8)])
def test_images_of_another_shape_are_refused(saved_model, wrong):
    serve = tf.saved_model.load(str(saved_model)).signatures["serve"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="expected shape"):
        serve(images=tf.constant(wrong))
