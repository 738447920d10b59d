# SPDX-License-Identifier: Apache-2.0
"""The command as a user runs it, on a few steps of digits."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from homoode_tf.report.compare import processes

NUM_CORES = len(os.sched_getaffinity(0))
CONFIG = """
from configs import compare_digits


def get_config():
    config = compare_digits.get_config()
    config.recipe.batch_size = 200
    config.recipe.epochs = 0.3
    config.recipe.model.update({"channels": 4, "head_channels": 6, "groups": 2})
    config.seeds = (0,)
    config.models.resnet.model.head_channels = 7
    config.parameter_tolerance = 0.5
    for name in list(config.models):
        if name not in ("resnet", "homoode"):
            del config.models[name]
    # A run that fails: its weights overflow.
    config.models.failing = {"optimizer": {"name": "sgd", "learning_rate": 1e30}}
    return config
"""


ENVIRONMENT = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}


def command(tmp_path, *arguments):
    config = tmp_path / "compare.py"
    config.write_text(CONFIG)
    return [
        sys.executable,
        "-m",
        "homoode_tf.compare",
        f"--config={config}",
        f"--workdir={tmp_path / 'runs'}",
        f"--data_dir={tmp_path / 'data'}",
        *arguments,
    ]


def run(tmp_path, *arguments):
    return subprocess.run(
        command(tmp_path, *arguments), capture_output=True, text=True, env=ENVIRONMENT, check=False
    )


@pytest.mark.slow
def test_trains_reports_and_resumes(tmp_path):
    pytest.importorskip("matplotlib")
    first = run(tmp_path, f"--jobs={min(2, NUM_CORES)}")
    assert first.returncode == 0, first.stderr
    results = json.loads((tmp_path / "runs" / "results.json").read_text())["models"]
    assert set(results) == {"resnet", "homoode", "failing"}
    for name, row in results.items():
        if name == "failing":
            assert len(row["failures"]) == 1 and not row["test_accuracies"]
            continue
        assert len(row["test_accuracies"]) == 1 and not row["failures"], row["failures"]
        assert row["nfe_forward"] > 0 and row["nfe_backward"] > 0
    assert results["resnet"]["nfe_forward"] == 7
    assert "| homoode |" in (tmp_path / "runs" / "table.md").read_text()
    assert (tmp_path / "runs" / "curves.png").exists()

    log = tmp_path / "runs" / "homoode" / "seed0" / "log.txt"
    before = log.read_text()
    again = run(tmp_path)
    assert again.returncode == 0
    assert "[2/3]" in again.stdout and log.read_text() == before


def test_errors_end_as_one_line(tmp_path):
    result = run(tmp_path, "--config.parameter_tolerance=1e-6")
    assert result.returncode == 1
    assert "must agree to 0%" in result.stderr.splitlines()[-1]


@pytest.mark.slow
def test_an_interruption_reaches_the_runs_and_is_no_failure_of_theirs(tmp_path):
    pytest.importorskip("matplotlib")
    long = "--config.recipe.epochs=1000"
    process = subprocess.Popen(
        command(tmp_path, long), stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    metrics = tmp_path / "runs" / "homoode" / "seed0" / "metrics.jsonl"
    failed_at_once = tmp_path / "runs" / "failing" / "seed0" / "failure.json"
    while not (metrics.exists() and metrics.read_text()):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM; the same command goes on" in errors.splitlines()[-1]
    assert failed_at_once.exists()
    assert not (metrics.parent / "failure.json").exists()
    assert "is saved" in (metrics.parent / "log.txt").read_text().splitlines()[-1]


def test_each_job_has_cores_of_its_own(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 2, 5, 6, 7})
    assert processes._shares(1) == [None]
    assert processes._shares(2) == [[1, 2], [5, 6]]
    for jobs in (0, 6):
        with pytest.raises(ValueError, match=f"at most the 5 cores here, got {jobs}"):
            processes._shares(jobs)
