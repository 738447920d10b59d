# SPDX-License-Identifier: Apache-2.0
"""That the hand-written step computes what ours does, and what a floor counts."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import agreement, peers, reference_model
from benchmarks.peers import floor

# Black and white: both frameworks scale them exactly.
GENERATOR = np.random.default_rng(0)
IMAGES = 255 * GENERATOR.integers(0, 2, (2, *reference_model.IMAGE_SHAPE), dtype=np.uint8)
LABELS = np.array([3, 7])
WEIGHTS = reference_model.make_weights(seed=0)


@pytest.fixture(autouse=True, scope="module")
def threads_as_they_are():
    # TensorFlow's cannot be changed once it has begun; elsewhere a peer has a process of its own.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", lambda number: None)
        yield


def make(name, settings=(), **options):
    spec = peers.PeerSpec(name, peers.settings_of(name, dict(settings)), **options)
    return peers.make(spec, WEIGHTS)


def answers(peer):
    """Returns what a peer says of two images: logits and gradients, the loss, its evaluations."""
    batch = peer.place(IMAGES, LABELS)
    arrays = {"logits": peer.forward(batch), **peer.gradients(batch)}
    return arrays, peer.step(batch), peer.evaluations()


@pytest.fixture(scope="module")
def ours():
    for package in ("torch", "torchdiffeq"):
        pytest.importorskip(package)
    tf.config.run_functions_eagerly(True)
    try:
        # In float64, where rounding moves nothing over a ReLU's kink.
        precision = {"precision": "float64"}
        yield answers(make("ours/backprop", precision, num_steps=1, method="dopri5"))
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.mark.parametrize("recompute", [False, True])
def test_the_hand_written_step_is_ours(ours, recompute):
    peer = make("torch/tuned", {"channels_last": True, "recompute": recompute})
    peer.model.double()
    tuned = answers(peer)
    (row,) = agreement.compare({"ours": ours[0], "tuned": tuned[0]})
    assert row["logits"] < 1e-6 and row["gradient"] < 1e-6
    assert tuned[1] == pytest.approx(ours[1], rel=1e-6)
    assert tuned[2] == peers.ONE_STEP_EVALUATIONS


def test_bfloat16_is_near(ours):
    half = answers(make("torch/tuned_bfloat16", {"channels_last": True}))
    (row,) = agreement.compare({"ours": ours[0], "half": half[0]}, bfloat16=["half"])
    assert row["agree"] and row["logits"] > 1e-5
    assert half[1] == pytest.approx(ours[1], rel=1e-2)


def test_the_hand_written_step_is_one():
    pytest.importorskip("torch")
    pytest.importorskip("torchdiffeq")
    with pytest.raises(ValueError, match="num_steps must be None or 1 for torch/tuned, got 2"):
        make("torch/tuned", num_steps=2)


def test_variants_in_bfloat16():
    spec = peers.PeerSpec("ours/bfloat16", peers.settings_of("ours/bfloat16", {}))
    assert (spec.precision, spec.gradient) == ("bfloat16", "backprop")
    assert peers.PeerSpec("torch/tuned_bfloat16", {}).precision == "bfloat16"
    assert peers.PeerSpec("ours/adjoint", {}).precision == "float32"


def test_only_hand_written_threads_wait_passively():
    assert peers.PeerSpec("torch/tuned", {}).environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert "OMP_WAIT_POLICY" not in peers.PeerSpec("torch/backprop", {}).environment


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_floor_has_all_convolutions_of_a_step_and_their_derivatives(precision):
    peer = make(f"floor/{precision}")
    batch = peer.place(IMAGES, LABELS)
    gradients, _ = peer._step(batch, tf.constant(3), tf.constant(2))
    kernels = [tf.cast(WEIGHTS[f"{name}.kernel"], precision) for name in floor._KERNELS]

    with tf.GradientTape() as tape:
        tape.watch(kernels)
        first, second, inner, outer, head = kernels
        state = floor._convolve(floor._convolve(batch, first), second, 2)
        for _ in range(2):
            state = floor._convolve(floor._convolve(state, inner), outer)
        output = floor._convolve(state, head)
    assert output.shape == (2, 16, 16, reference_model.HEAD_CHANNELS)
    for found, expected in zip(gradients, tape.gradient(output, kernels), strict=True):
        assert found.dtype == precision
        np.testing.assert_allclose(
            tf.cast(found, tf.float32), tf.cast(expected, tf.float32), rtol=0.1, atol=1e-2
        )


def test_a_floor_says_what_it_was_told_to_evaluate():
    peer = make("floor/float32")
    batch = peer.place(IMAGES, LABELS)
    assert peer.step(batch) is None and peer.evaluations() == (7, 6)
    peer.step(batch, evaluations=[3, 2])
    assert peer.evaluations() == [3, 2]
