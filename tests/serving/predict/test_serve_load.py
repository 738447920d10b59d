# SPDX-License-Identifier: Apache-2.0
"""`python -m scripts.serve_load`: what it counts of models that answer as they should, or not."""

import itertools
import re

import numpy as np
import pytest

from homoode_tf.serving.predict import PredictionError, Predictions, ServedModel
from scripts import serve_load


@pytest.fixture
def run(brightness, capsys):
    def load():
        flags = ["--predictions", "200", "--threads", "4"]
        status = serve_load.main(["--saved_model", str(brightness), *flags])
        return status, *capsys.readouterr()

    return load


def test_a_sound_model(run):
    status, out, err = run()
    assert (status, err) == (0, "")
    assert "predictions: 200 from 4 threads\nmismatches: 0; not identical to the last bit: 0" in out
    assert "largest difference: 0\n" in out
    assert re.search(r"memory: \d+\.\d MiB at the start, \d+\.\d half way, \d+\.\d at the end", out)
    assert re.search(r"speed: \d+ predictions/s", out)


@pytest.mark.parametrize("offset", [0.25, np.nan, 1e-7])
def test_answers_that_change_are_counted(run, monkeypatch, offset):
    """Each tenth of the answers that the threads get is another than before."""
    predict, calls = ServedModel.predict, itertools.count()

    def change(model, images):
        found = predict(model, images)
        call = next(calls)
        wrong = offset if call >= 100 and call % 10 == 0 else 0.0
        return Predictions(found.classes, found.probabilities * 0 + np.float32(wrong), found.logits)

    monkeypatch.setattr(ServedModel, "predict", change)
    status, out, _ = run()
    mismatches = 0 if offset == 1e-7 else 20
    assert status == (1 if mismatches else 0)
    assert f"mismatches: {mismatches}; not identical to the last bit: 20" in out


def test_failures_are_counted_and_named(run, monkeypatch):
    predict, calls = ServedModel.predict, itertools.count()

    def fail(model, images):
        if next(calls) >= 250:
            raise PredictionError("out of luck")
        return predict(model, images)

    monkeypatch.setattr(ServedModel, "predict", fail)
    status, out, err = run()
    assert status == 1
    assert "mismatches: 50;" in out and err == "50 times: out of luck\n"


def test_no_model(tmp_path, capsys):
    assert serve_load.main(["--saved_model", str(tmp_path / "none")]) == 2
    reason = f"{tmp_path / 'none'}: no such folder"
    assert capsys.readouterr().err == f"python -m scripts.serve_load: {reason}\n"
