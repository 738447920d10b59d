# SPDX-License-Identifier: Apache-2.0
"""That every variant runs and is compared with the first, and how the table reads."""

import contextlib

import numpy as np
import pytest

from benchmarks import device_step, image_batches, measurements, peer_process, reference_model


def specs(precisions=("float32", "mixed_bfloat16"), jits=("off", "on"), **options):
    return device_step.make_specs(
        precisions, jits, gradient="backprop", max_num_steps=4, tolerance=1e-2, **options
    )


def test_variants():
    found = {spec.key: spec.settings for spec in specs()}
    assert list(found) == [
        "float32, XLA off",
        "float32, XLA on",
        "mixed_bfloat16, XLA off",
        "mixed_bfloat16, XLA on",
    ]
    last = found["mixed_bfloat16, XLA on"]
    assert (last["precision"], last["jit_step"], last["jit_forward"]) == (
        "mixed_bfloat16",
        True,
        True,
    )
    assert not found["float32, XLA off"]["jit_step"]


@pytest.fixture
def one_process_each(monkeypatch):
    """A variant is started once, and not anew for each measurement."""
    running = {}
    with contextlib.ExitStack() as stack:

        def start(spec, folder):
            if spec.key in running:
                running[spec.key].reset()
            else:
                process = peer_process.PeerProcess(spec, folder)
                running[spec.key] = stack.enter_context(process)
            return contextlib.nullcontext(running[spec.key])

        monkeypatch.setattr(measurements, "PeerProcess", start)
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("one_process_each")
def test_measuring_and_reporting(tmp_path):
    image_batches.write_batches(tmp_path, measurements.MEMORY_STEPS, 2, data_dir=None)
    np.savez(tmp_path / "weights.npz", **reference_model.make_weights(seed=0))
    # Euler's method has one stage to trace.
    short = specs(jits=["off"], method="euler", num_steps=2)
    rows = device_step.measure(short, tmp_path, rounds=1, train_steps=2)
    half = rows["mixed_bfloat16, XLA off"]
    assert 0 < half["logits"] < 0.1 and 0 < half["gradient"] < 0.5
    assert half["trained"]["step"] > 0 and half["peak_mib"] > 0 and half["device"]


def test_a_variant_that_does_not_run_leaves_the_others(tmp_path, monkeypatch):
    def fail(spec, folder):
        raise RuntimeError(f"{spec.key} ran out of memory")

    monkeypatch.setattr(measurements, "peak_memory", fail)
    rows = device_step.measure(specs(), tmp_path, rounds=1, train_steps=1)
    assert rows["float32, XLA on"] == {"error": "float32, XLA on ran out of memory"}


def test_report():
    times = {
        "first_step": 9.0,
        "losses": [2.0, 1.0],
        "trained": {"step": 0.5, "forward": 0.25, "step_evaluations": [7, 6]},
    }
    results = {
        "machine": {"command": "python -m benchmarks.device_step"},
        "images": "random images",
        "gradient": "backprop",
        "tolerance": 1e-3,
        "max_num_steps": 12,
        "train_steps": 1,
        "rounds": 1,
        "batch_sizes": {
            64: {
                "float32, XLA off": {"device": "GPU X", "peak_mib": 100.4, **times},
                "float32, XLA on": {
                    "device": "GPU X",
                    "peak_mib": 300.0,
                    "logits": 1e-6,
                    "gradient": 2e-5,
                    **times,
                },
                "mixed_bfloat16, XLA on": {"error": "out of memory"},
            }
        },
    }
    text = device_step.report(results)
    assert "on GPU X; random images, backprop, rtol = atol = 0.001, at most 12 steps" in text
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    by_label = {row[0]: row[1:] for row in rows if row}
    common = ["0.5", "128", "0.25", "7 + 6"]
    dash = "–"  # noqa: RUF001
    assert by_label["float32, XLA off"] == [*common, "100", "9", dash, dash, "1.5"]
    assert by_label["float32, XLA on"] == [*common, "300", "9", "1e-06", "2e-05", "1.5"]
    assert set(by_label["mixed_bfloat16, XLA on"]) == {dash}
    assert "mixed_bfloat16, XLA on does not run:\n\n```\nout of memory" in text


def test_the_processes_of_two_variants_have_logs_of_their_own(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(peer_process.PeerProcess, "_read", lambda self: started.append(self))
    monkeypatch.setattr(peer_process.subprocess, "Popen", lambda *_, **__: None)
    for spec in specs(jits=["off"]):
        peer_process.PeerProcess(spec, tmp_path)
    assert len({process._log_path for process in started}) == 2
