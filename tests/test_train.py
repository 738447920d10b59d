# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from configs import digits
from homoode_tf.training import evaluate, train
from homoode_tf.training.settings import TrainingSettings
from scripts import kill_nine
from tests.malformed import commands

# The default recipe, cut down to seconds: two epochs of a small model.
SMALL = {
    "epochs": 2,
    "batch_size": 128,
    "model.channels": 4,
    "model.head_channels": 8,
    "model.groups": 2,
    "model.solver": "heun_euler",
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


def run(*flags):
    """What `python train.py FLAGS` does, in a fork of a process that has imported everything."""
    return commands.run(["train.py", *map(str, flags)])


def last_line(text):
    return text.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["--config.optimizer.lr=3"], 2, "config.optimizer has no field 'lr'; the known ones are"),
        (["--mode=tran"], 2, "train|evaluate|export"),
        (["--config.learning_rate=1"], 2, " or --config.optimizer.learning_rate?"),
        (["--epochs=1"], 2, "there is no flag --epochs. Did you mean --config.epochs?"),
        (["--work_dir=x"], 2, "there is no flag --work_dir. Did you mean --workdir?"),
        (["--config=nothing.py"], 2, "nothing.py"),
        (["--config=cifar"], 2, "--config=cifar: no such recipe or file. The recipes are base, "),
        (["--config=cifar10"], 1, "dataset 'cifar10' is not in data_dir"),
        (["--flagfile=nothing"], 2, "nothing"),
        (["--workdir="], 2, "workdir"),
        (["--config.batch_size=0"], 1, "config.batch_size"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_a_mistake_ends_as_one_clear_line(tmp_path, flags, status, message):
    workdir = tmp_path / "run"
    done = run(f"--workdir={workdir}", f"--data_dir={tmp_path / 'data'}", *flags)
    assert done.status == status
    assert "Traceback" not in done.errors
    line = last_line(done.errors)
    assert line.startswith("train.py: ") and message in line
    assert not (workdir / "config.json").exists()


def test_the_help_tells_every_flag_and_every_field_with_its_default():
    done = run("--help")
    assert done.status == 0 and done.errors == ""
    assert "  --mode=train                <train|evaluate|export>: What to do." in done.output
    for name, default, *_ in TrainingSettings.declared():
        assert done.output.count(f"\n  {name}={default or 'NAME'}") == 1
    assert all(len(line) <= 80 for line in done.output.splitlines())


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
    assert done.status == 2
    assert "Traceback" not in done.errors
    assert last_line(done.errors).startswith("train.py: ") and message in last_line(done.errors)


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
def test_a_killed_run_ends_bit_for_bit_like_an_uninterrupted_one(tmp_path, data_dir, capsys):
    """As `scripts.kill_nine` finds out, once the first checkpoint is there; the images stream."""
    streamed = {**SMALL, "cache_megabytes": 0}
    flags = [f"--data_dir={data_dir}", *(f"--config.{n}={v}" for n, v in streamed.items())]
    kill = ["--kills=1", "--from_checkpoint", "--longest=0", f"--workdir={tmp_path / 'runs'}"]
    assert kill_nine.main([*kill, "--", *flags]) == 0
    assert "1 times kill -9, 20 steps: 0 of " in last_line(capsys.readouterr().out)

    whole, workdir = tmp_path / "runs" / "whole", tmp_path / "runs" / "killed"
    log = (workdir / "log.txt").read_text()
    assert "Resuming" in log and "is complete: digits" in log
    found = json.loads((workdir / "result.json").read_text())
    expected = json.loads((whole / "result.json").read_text())
    for name in ("steps", "validation_accuracy", "test_accuracy", "test_loss"):
        assert found[name] == expected[name]
    steps = [json.loads(line)["step"] for line in (workdir / "metrics.jsonl").open()]
    assert steps == sorted(set(steps))
    assert (workdir / "saved_model" / "1" / "saved_model.pb").exists()

    del found["sha256"], found["config"]  # of the file
    config = small_config(cache_megabytes=0)
    assert train(config, workdir, data_dir) == found
    again = evaluate(config, workdir, data_dir)
    assert again["test_accuracy"] == found["test_accuracy"]
    with pytest.raises(ValueError, match="seed is 0 there and 7 here"):
        train(small_config(cache_megabytes=0, seed=7), workdir, data_dir)
