# SPDX-License-Identifier: Apache-2.0
import base64
import http.server
import importlib
import io
import json
import re
import threading
import urllib.error
import urllib.request

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from homoode_tf import models
from homoode_tf.graph_errors import reason
from homoode_tf.layers.serving_scope import serving_scope
from homoode_tf.serving import export
from homoode_tf.serving.predict import read
from tests.data import pictures

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


@pytest.fixture(scope="module")
def signatures(saved_model):
    loaded = tf.saved_model.load(str(saved_model))
    yield loaded.signatures
    del loaded  # which kept the variables alive


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


def encoded(picture, format):
    content = io.BytesIO()
    picture.save(content, format)
    return content.getvalue()


def test_answers_with_names_to_images_and_to_whole_files(signatures):
    plain = signatures["serve"](images=tf.constant(images(5)))
    named = signatures["serving_default"](images=tf.constant(images(5)))
    files = [encoded(Image.fromarray(image[..., 0]), "PNG") for image in images(5)]
    of_files = signatures["serve_bytes"](image_bytes=tf.constant(files))
    assert "class_name" not in plain
    for answer in (named, of_files):
        np.testing.assert_array_equal(answer["logits"], plain["logits"])
        expected = [CLASS_NAMES[number].encode() for number in plain["class"]]
        assert answer["class_name"].numpy().tolist() == expected
    nothing = signatures["serve_bytes"](image_bytes=tf.constant([], tf.string))
    assert nothing["logits"].shape == (0, 10)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "turned"])
def test_files_are_read_as_predict_reads_them(signatures, tmp_path, format):
    gradient = (np.linspace(0, 255, 20)[:, None, None] * np.ones([1, 30, 3])).astype(np.uint8)
    content = (
        pictures.turned_jpeg(gradient)
        if format == "turned"
        else encoded(Image.fromarray(gradient), format)
    )
    (tmp_path / "file").write_bytes(content)
    as_predict_does = read(tmp_path / "file", (8, 8, 1))[None]
    expected = signatures["serve"](images=tf.constant(as_predict_does))["logits"]
    found = signatures["serve_bytes"](image_bytes=tf.constant([content]))["logits"]
    np.testing.assert_allclose(found, expected, atol=0.05)  # of rounding


def palette():
    return encoded(Image.fromarray(images(1)[0, ..., 0]), "BMP")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Input is empty"),
        (b"BM", "Incomplete bmp content|BMP"),
        (b"no image at all", "Unknown image file format. One of JPEG"),
        (encoded(Image.new("L", (9, 9)), "PNG")[:60], "Invalid PNG data, size 60"),
        (encoded(Image.new("L", (99, 99)), "JPEG")[:300], "Invalid JPEG data"),
        (encoded(Image.new("L", (99, 99)), "GIF")[:20], "(?i)gif"),
        (palette(), "BMP with a palette: give one of 24 bits, or a PNG"),
    ],
)
def test_bytes_that_are_no_image_end_in_one_line(signatures, content, message):
    serve = signatures["serve_bytes"]
    good = encoded(Image.new("L", (9, 9)), "PNG")
    with pytest.raises(tf.errors.OpError) as caught:
        serve(image_bytes=tf.constant([good, content]))
    assert re.search(message, reason(caught.value)), reason(caught.value)


class Rest(http.server.BaseHTTPRequestHandler):
    """Answers `:predict` in TensorFlow Serving's REST form."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        (name,) = {name for instance in asked["instances"] for name in instance}
        values = [instance[name] for instance in asked["instances"]]
        if name.endswith("_bytes"):
            values = tf.constant([base64.b64decode(value["b64"]) for value in values])
        else:
            values = tf.constant(values, tf.uint8)
        try:
            answer = self.signatures[asked.get("signature_name", "serving_default")](
                **{name: values}
            )
            rows = {key: value.numpy().astype(object) for key, value in answer.items()}
            rows = [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]
            said, status = {"predictions": rows}, 200
        except tf.errors.OpError as error:
            said, status = {"error": reason(error)}, 400
        self.send_response(status)
        self.end_headers()
        text = json.dumps(said, default=lambda v: v.decode() if type(v) is bytes else v.tolist())
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


def test_answers_as_a_rest_server_asks(signatures):
    Rest.signatures = signatures
    server = http.server.HTTPServer(("127.0.0.1", 0), Rest)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # A proxy of the surroundings does not know this machine's own ports.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(**body):
        address = f"http://127.0.0.1:{server.server_port}/v1/models/digits:predict"
        request = urllib.request.Request(address, json.dumps(body).encode())
        try:
            with direct.open(request) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)

    try:
        image = images(1)[0]
        content = encoded(Image.fromarray(image[..., 0]), "PNG")
        instance = {"image_bytes": {"b64": base64.b64encode(content).decode()}}
        (named,) = ask(instances=[{"images": image.tolist()}])["predictions"]
        (of_file,) = ask(instances=[instance], signature_name="serve_bytes")["predictions"]
        assert named == of_file
        assert named["class_name"] == CLASS_NAMES[named["class"]]
        broken = {"image_bytes": {"b64": base64.b64encode(b"no image at all").decode()}}
        assert "Unknown image file format" in ask(
            instances=[broken], signature_name="serve_bytes"
        ).pop("error")
    finally:
        server.shutdown()
        server.server_close()
