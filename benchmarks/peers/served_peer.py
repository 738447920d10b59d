# SPDX-License-Identifier: Apache-2.0
"""This project's HomoODE as it is served: Keras's own `predict`, SavedModel, LiteRT and ONNX."""

import os
import pathlib
import tempfile

import numpy as np
import tensorflow as tf

from benchmarks import reference_model as facts
from benchmarks.peers import PeerSpec, tensorflow_peer
from homoode_tf.serving import convert, export


class Peer(tensorflow_peer.Peer):
    """Variants "keras", "saved_model", "litert" and "onnx" of the model that `ours` trains.

    The first forward pass after training exports it as it then is, with the step size that training
    has found.

    Settings:
        onednn: Whether TensorFlow uses oneDNN's kernels (set in the environment).
        precision: Keras's dtype policy of all layers.
        step_control: Of the exported model.
    """

    def __init__(self, spec: PeerSpec, weights: dict[str, np.ndarray]):
        super().__init__(spec.replace(settings={**spec.settings, "gradient": "backprop"}), weights)
        self._variant, self._threads = spec.variant, spec.threads
        self._step_control = spec.settings.get("step_control", "batch")
        self._run = None
        self._folder = tempfile.TemporaryDirectory()

    def place(self, images, labels):
        self._images = images
        return super().place(images, labels)

    def forward(self, batch):
        if self._run is None:
            self._run = self._export()
        return self._run(self._images)

    def step(self, batch):
        self._run = None
        return super().step(batch)

    def _export(self):
        if self._variant == "keras":
            return self.model.predict_on_batch
        saved_model = pathlib.Path(self._folder.name, "saved_model")
        export.save(self.model, saved_model, facts.IMAGE_SHAPE, step_control=self._step_control)
        if self._variant.startswith("saved_model"):
            self._loaded = tf.saved_model.load(os.fspath(saved_model))
            serve = self._loaded.signatures[export.SIGNATURE]
            return lambda images: serve(images=tf.constant(images))["logits"].numpy()
        make = self._onnx if self._variant == "onnx" else self._litert
        return make(saved_model, saved_model.with_suffix(f".{self._variant}"))

    def _litert(self, saved_model, path):
        from ai_edge_litert.interpreter import Interpreter

        convert.convert(saved_model, path, "tflite")
        interpreter = Interpreter(model_path=os.fspath(path), num_threads=self._threads)
        run = interpreter.get_signature_runner(export.SIGNATURE)
        return lambda images: run(images=images)["logits"]

    def _onnx(self, saved_model, path):
        import onnxruntime

        convert.convert(saved_model, path, "onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        # Threads that spin after their work would do so in the time of the peer that comes next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(os.fspath(path), options)
        return lambda images: session.run(["logits"], {"images": images})[0]
