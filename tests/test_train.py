# SPDX-License-Identifier: Apache-2.0
import json
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from homoode_tf.training.command_line import find_unknown

ROOT = pathlib.Path(__file__).resolve().parents[1]
# The default recipe, cut down to seconds: two epochs of a small model.
SMALL = [
    "--config.epochs=2",
    "--config.batch_size=128",
    "--config.model.channels=4",
    "--config.model.head_channels=8",
    "--config.model.groups=2",
    "--config.log_every_steps=2",
    "--config.checkpoint_every_steps=2",
]


def command(*flags):
    return [sys.executable, str(ROOT / "train.py"), *map(str, flags)]


def run(*flags):
    return subprocess.run(command(*flags), capture_output=True, text=True, timeout=300)


def last_line(text):
    return text.strip().splitlines()[-1]


def test_unknown_fields_name_the_known_ones():
    config = {"batch_size": 8, "model": {"channels": 64}}
    assert find_unknown(config, "model.channels") is None
    assert "no field 'chanels'; the known ones are channels." in find_unknown(
        config, "model.chanels"
    )
    assert "no field 'batch'; the known ones are batch_size, model." in find_unknown(
        config, "batch"
    )
    assert "batch_size is a value" in find_unknown(config, "batch_size.x")


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["--config.optimizer.lr=3"], 2, "config.optimizer has no field 'lr'; the known ones are"),
        pytest.param(["--mod=train"], 2, "Unknown command line flag 'mod'", marks=pytest.mark.slow),
        pytest.param(["--mode=tran"], 2, "train|evaluate|export", marks=pytest.mark.slow),
        pytest.param(["--strategy=tpu"], 2, "one_device|mirrored", marks=pytest.mark.slow),
        pytest.param(["--config=nothing.py"], 2, "nothing.py", marks=pytest.mark.slow),
        pytest.param(["--config.seed=x"], 2, "--config.seed=x", marks=pytest.mark.slow),
        pytest.param(["digits"], 2, "unexpected arguments: digits", marks=pytest.mark.slow),
        pytest.param(["--config.batch_size=0"], 1, "config.batch_size", marks=pytest.mark.slow),
        pytest.param(["--config.dataset=mnits"], 1, "mnist", marks=pytest.mark.slow),
        pytest.param(["--config.model.solver=rk45"], 1, "dopri5", marks=pytest.mark.slow),
        pytest.param(["--config.model.rtol=-1.0"], 1, "rtol", marks=pytest.mark.slow),
        pytest.param(["--mode=evaluate"], 1, "holds no run", marks=pytest.mark.slow),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_mistake_ends_as_one_clear_line(tmp_path, flags, status, message):
    workdir = tmp_path / "run"
    done = run(f"--workdir={workdir}", f"--data_dir={tmp_path / 'data'}", *flags)
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    line = last_line(done.stderr)
    assert line.startswith("train.py: ") and message in line
    assert not (workdir / "config.json").exists()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.mark.slow
def test_a_killed_run_ends_like_an_uninterrupted_one(tmp_path, data_dir):
    flags = [f"--data_dir={data_dir}", *SMALL]
    whole = run(f"--workdir={tmp_path / 'whole'}", *flags)
    assert whole.returncode == 0, whole.stderr

    workdir = tmp_path / "killed"
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(command(f"--workdir={workdir}", *flags), stdout=log, stderr=log)
        deadline = time.monotonic() + 200
        while not list(workdir.glob("checkpoints/step-*")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    resumed = run(f"--workdir={workdir}", *flags)
    assert resumed.returncode == 0, resumed.stderr

    expected = json.loads((tmp_path / "whole" / "result.json").read_text())
    found = json.loads((workdir / "result.json").read_text())
    for name in ("steps", "validation_accuracy", "test_accuracy", "test_loss"):
        assert found[name] == pytest.approx(expected[name], rel=1e-4)
    steps = [json.loads(line)["step"] for line in (workdir / "metrics.jsonl").open()]
    assert steps == sorted(set(steps))

    again = run(f"--workdir={workdir}", *flags)
    assert again.returncode == 0 and "is complete: digits" in again.stdout
    other = run(f"--workdir={workdir}", *flags, "--config.seed=7")
    assert other.returncode == 1
    assert "seed is 0 there and 7 here" in last_line(other.stderr)
    assert (workdir / "saved_model" / "saved_model.pb").exists()
    evaluated = run(f"--workdir={workdir}", *flags, "--mode=evaluate")
    assert f"test accuracy {found['test_accuracy']:.2%}" in evaluated.stdout
