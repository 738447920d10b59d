# SPDX-License-Identifier: Apache-2.0
"""The command as a user runs it, on a few steps of digits."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

CONFIG = """
from configs import compare_digits


def get_config():
    config = compare_digits.get_config()
    config.recipe.update({"batch_size": 200, "epochs": 8.0, "evaluate_every_epochs": 8})
    config.recipe.log_every_steps = 1
    config.recipe.model.update({"channels": 4, "head_channels": 6, "groups": 2})
    config.seeds = (0,)
    for name in list(config.models):
        if name != "homoode":
            del config.models[name]
    return config
"""


def start(tmp_path, *arguments):
    config = tmp_path / "compare.py"
    config.write_text(CONFIG)
    command = [
        *(sys.executable, "-m", "homoode_tf.compare", f"--config={config}"),
        *(f"--workdir={tmp_path / 'runs'}", f"--data_dir={tmp_path / 'data'}"),
        *arguments,
    ]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


@pytest.mark.slow
def test_trains_is_interrupted_resumes_and_reports(tmp_path):
    pytest.importorskip("matplotlib")
    runs = tmp_path / "runs"
    run = runs / "homoode" / "seed0"
    metrics = run / "metrics.jsonl"
    process = start(tmp_path)
    while not (metrics.exists() and metrics.read_text()):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM; the same command goes on" in errors.splitlines()[-1]
    assert "is saved" in (run / "log.txt").read_text().splitlines()[-1]
    assert not (run / "failure.json").exists() and not (run / "result.json").exists()

    process = start(tmp_path)
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    row = json.loads((runs / "results.json").read_text())["models"]["homoode"]
    assert len(row["test_accuracies"]) == 1 and not row["failures"]
    assert row["nfe_forward"] > 0 and row["nfe_backward"] > 0
    # No step was lost or made twice.
    steps = [line["step"] for line in row["curves"][0]]
    assert steps == list(range(1, len(steps) + 1)) and len(steps) == 8 * 6
    table = (runs / "table.md").read_text()
    assert "| homoode |" in table and "[1/1] homoode, seed 0: test accuracy" in output
    assert output.endswith(f"{table}\n")
    assert (runs / "curves.png").exists()


def test_errors_end_as_one_line(tmp_path):
    process = start(tmp_path, "--jobs=0")
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "jobs must be at least 1 and at most" in errors.splitlines()[-1]
