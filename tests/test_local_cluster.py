# SPDX-License-Identifier: Apache-2.0
"""Several workers on this machine, as `scripts/local_cluster.py` starts them."""

import json
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from configs import digits
from homoode_tf.training import train
from scripts.local_cluster import free_ports
from tests.malformed import commands

ROOT = pathlib.Path(__file__).resolve().parents[1]
# A HomoODE in which nothing depends on how a batch is divided; see tests/training/test_replicas.py.
FLAGS = {
    "batch_size": 64,
    "epochs": 1,
    "augmentation.crop_padding": 0,
    "model.channels": 8,
    "model.head_channels": 12,
    "model.groups": 4,
    "model.dropout_rate": 0.0,
    # Equal steps, for where they are controlled rounding decides on their number.
    "model.solver": "midpoint",
    "model.num_steps": 2,
    "model.synchronized_batch_norm": True,
    "optimizer.name": "sgd",
    "optimizer.learning_rate": 0.02,
    "initial_point.period": 3,
}
# Prints its place in the cluster, and ends, waits or fails as told.
PROGRAM = """
import json, os, sys, time
task = json.loads(os.environ["TF_CONFIG"])
index = task["task"]["index"]
print(index, "of", len(task["cluster"]["worker"]), sys.argv[1:], flush=True)
if sys.argv[1] == "wait" or (sys.argv[1] == "fail" and index == 0):
    time.sleep(600)
sys.exit(7 if sys.argv[1] == "fail" else 0)
"""


def cluster(*program, workers=2, **options):
    command = [sys.executable, "scripts/local_cluster.py", "-n", str(workers), "--", *program]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, **options
    )


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return str(path)


def test_every_worker_has_its_place(program):
    process = cluster(program, "end", workers=3)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    expected = [f"[{k}] {k} of 3 ['end', '--strategy=multi_worker']" for k in range(3)]
    assert sorted(output.splitlines()) == expected


def test_a_worker_that_fails_stops_the_others(program):
    process = cluster(program, "fail", "--strategy=mine")
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 7
    assert "worker 1 ended with status 7; stopping the others" in errors
    assert "['fail', '--strategy=mine']" in output


def test_signals_are_handed_on(program):
    process = cluster(program, "wait")
    for _ in range(2):
        process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM


def weights(workdir):
    (folder,) = (workdir / "checkpoints").glob("step-00000020*")
    reader = tf.train.load_checkpoint(str(folder / "state"))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name.startswith("model_")
    }


def flags(workdir):
    return [f"--workdir={workdir}", *(f"--config.{name}={value}" for name, value in FLAGS.items())]


@pytest.mark.slow
def test_two_workers_learn_what_one_process_does(tmp_path):
    process = cluster("train.py", *flags(tmp_path / "two"))
    output, errors = process.communicate(timeout=400)
    assert process.returncode == 0, output + errors
    config = digits.get_config()
    config.update_from_flattened_dict(FLAGS)
    train(config, tmp_path / "one", strategy="one_device")
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys()
    for name, value in one.items():
        if value.dtype.kind == "f":  # the others count, or are seeds
            np.testing.assert_allclose(two[name], value, rtol=0.0, atol=1e-5, err_msg=name)
    results = [json.loads((tmp_path / k / "result.json").read_text()) for k in ("one", "two")]
    assert results[0]["test_accuracy"] == results[1]["test_accuracy"]


def start_worker(index, ports, workdir):
    task = {"type": "worker", "index": index}
    workers = [f"127.0.0.1:{port}" for port in ports]
    # The fakes: what is lost and found here depends on the loop, and not on the model.
    return commands.Started(
        ["-m", "tests.training.run_fakes", workdir, 0.2],
        {"TF_CONFIG": json.dumps({"cluster": {"worker": workers}, "task": task})},
    )


def start_two_workers(workdir):
    ports = free_ports(2)
    return [start_worker(index, ports, workdir) for index in (0, 1)]


def wait_for_a_new_checkpoint(workdir, workers):
    last = lambda: max(workdir.glob("checkpoints/step-*"), default=None)  # noqa: E731
    before = last()
    while last() == before:
        assert all(worker.poll() is None for worker in workers)
        time.sleep(0.1)


@pytest.mark.slow
def test_a_lost_worker_ends_the_run_with_a_clear_message_and_costs_little(tmp_path):
    """One run: each worker is killed in turn, and then one is preempted, which stops both."""
    for killed in (1, 0):
        workers = start_two_workers(tmp_path)
        wait_for_a_new_checkpoint(tmp_path, workers)
        workers[killed].kill()
        _, errors = workers[1 - killed].communicate(timeout=200)
        workers[killed].communicate()
        assert workers[1 - killed].returncode == 1
        last = errors.strip().splitlines()[-1]
        assert "another worker of this run is gone (" in last
        assert "they go on at the last checkpoint" in last

    workers = start_two_workers(tmp_path)
    wait_for_a_new_checkpoint(tmp_path, workers)
    workers[1].send_signal(signal.SIGTERM)  # The other one has to write the checkpoint.
    outputs, errors = zip(*(worker.communicate(timeout=200) for worker in workers), strict=True)
    assert [worker.returncode for worker in workers] == [143, 143], errors
    assert "Resuming" in outputs[0]
    lines = {error.strip().splitlines()[-1] for error in errors}
    assert len(lines) == 1, lines
    saved = re.fullmatch(r"run_fakes.py: stopped by SIGTERM; step (\d+) is saved", lines.pop())
    assert (tmp_path / "checkpoints" / f"step-{int(saved[1]):08d}" / "manifest.json").exists()
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").open()]
    assert steps == sorted(set(steps))
