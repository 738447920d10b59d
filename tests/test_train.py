# SPDX-License-Identifier: Apache-2.0
import json
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from configs import digits
from homoode_tf.command_line import find_unknown
from homoode_tf.training import evaluate, train
from scripts import kill_nine

ROOT = pathlib.Path(__file__).resolve().parents[1]
# The default recipe, cut down to seconds: two epochs of a small model.
SMALL = {
    "epochs": 2,
    "batch_size": 128,
    "model.channels": 4,
    "model.head_channels": 8,
    "model.groups": 2,
    "log_every_steps": 2,
    "checkpoint_every_steps": 2,
}


def small_config(**changes):
    config = digits.get_config()
    config.update_from_flattened_dict({**SMALL, **changes})
    return config


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


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
        pytest.param(["--mode=tran"], 2, "train|evaluate|export", marks=pytest.mark.slow),
        pytest.param(["--config=nothing.py"], 2, "nothing.py", marks=pytest.mark.slow),
        pytest.param(["--flagfile=nothing"], 2, "nothing", marks=pytest.mark.slow),
        pytest.param(["--workdir="], 2, "workdir", marks=pytest.mark.slow),
        pytest.param(["--config.batch_size=0"], 1, "config.batch_size", marks=pytest.mark.slow),
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


@pytest.mark.slow
def test_the_help_tells_every_field_with_its_default():
    done = run("--help")
    assert done.returncode == 0
    assert "model.solver='dopri5': The solver" in done.stdout
    assert done.stdout.count("optimizer.clip_norm=0.0") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise ValueError('no such recipe')", "no such recipe"),
        ("raise SystemExit(0)", "ends with sys.exit(0)"),
        ("return 3", "get_config() must return a ConfigDict, it returned 3"),
    ],
)
def test_a_config_file_that_gives_no_config(tmp_path, body, message):
    (tmp_path / "recipe.py").write_text(f"def get_config():\n    {body}\n")
    done = run(f"--config={tmp_path / 'recipe.py'}", f"--workdir={tmp_path / 'run'}")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert last_line(done.stderr).startswith("train.py: ") and message in last_line(done.stderr)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("dataset", "mnits", "mnist"),
        ("model.solver", "rk45", "dopri5"),
        ("model.gradient", "adjiont", "adjoint"),
        ("model.rtol", -1.0, "rtol"),
        ("model.final_time", 0.0, "final_time"),
        ("validation_fraction", 1.5, "validation_fraction"),
        ("augmentation.flip_probability", 2.0, "flip_probability"),
        ("augmentation.crop_padding", 8, "crop_padding must be below 8"),
        ("epochs", 1e30, "config.epochs must be below"),
    ],
)
def test_a_bad_field_is_refused_before_anything_is_written(
    tmp_path, data_dir, field, value, message
):
    config = small_config()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ValueError, match=message):
        train(config, tmp_path / "run", data_dir)
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.slow
def test_a_killed_run_ends_like_an_uninterrupted_one(tmp_path, data_dir):
    whole = train(small_config(), tmp_path / "whole", data_dir)

    workdir = tmp_path / "killed"
    flags = [f"--workdir={workdir}", f"--data_dir={data_dir}"]
    flags += [f"--config.{field}={value}" for field, value in SMALL.items()]
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(command(*flags), stdout=log, stderr=log)
        deadline = time.monotonic() + 200
        while not list(workdir.glob("checkpoints/step-*")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    resumed = run(*flags)
    assert resumed.returncode == 0, resumed.stderr
    assert "Resuming" in resumed.stdout and "is complete: digits" in resumed.stdout

    found = json.loads((workdir / "result.json").read_text())
    for name in ("steps", "validation_accuracy", "test_accuracy", "test_loss"):
        assert found[name] == pytest.approx(whole[name], rel=1e-4)
    steps = [json.loads(line)["step"] for line in (workdir / "metrics.jsonl").open()]
    assert steps == sorted(set(steps))
    assert (workdir / "saved_model" / "saved_model.pb").exists()

    assert train(small_config(), workdir, data_dir) == found
    again = evaluate(small_config(), workdir, data_dir)
    assert again["test_accuracy"] == found["test_accuracy"]
    with pytest.raises(ValueError, match="seed is 0 there and 7 here"):
        train(small_config(seed=7), workdir, data_dir)


@pytest.mark.slow
def test_deterministic_runs_are_equal_bit_for_bit_though_killed(tmp_path, data_dir, capsys):
    flags = [f"--config.{field}={value}" for field, value in SMALL.items()]
    arguments = ["--kills=1", "--longest=5", f"--workdir={tmp_path / 'runs'}"]
    assert kill_nine.main([*arguments, "--", f"--data_dir={data_dir}", *flags]) == 0
    assert "1 times kill -9, 20 steps: 0 of " in last_line(capsys.readouterr().out)
