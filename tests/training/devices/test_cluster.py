# SPDX-License-Identifier: Apache-2.0
import json
import os
import signal
import socket
import subprocess
import sys

import pytest
import tensorflow as tf

from homoode_tf.errors import InvalidValueError
from homoode_tf.training.devices import cluster, strategy

SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_PROCID": "2",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NODELIST": "node[7-8]",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in ("TF_CONFIG", "TPU_NAME", *SLURM):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def slurm(monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)


def test_tf_config(monkeypatch):
    workers = ["a:1", "b:2", "c:3"]
    task = {"type": "worker", "index": 1}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": workers}, "task": task}))
    assert cluster.has_several_workers()
    resolver = cluster.resolve()
    assert resolver.cluster_spec().as_dict() == {"worker": workers}
    assert (resolver.task_type, resolver.task_id) == ("worker", 1)


def test_one_worker_is_no_group(monkeypatch):
    assert not cluster.has_several_workers()
    config = {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert not cluster.has_several_workers()


@pytest.mark.usefixtures("slurm")
def test_slurm():
    """Four tasks on two nodes, of which this is the third; no GPUs."""
    assert cluster.has_several_workers()
    resolver = cluster.resolve()
    port = 12_000 + 4711 * 32 % 16_000
    workers = [f"node{node}:{port + task}" for node in (7, 8) for task in (0, 1)]
    assert resolver.cluster_spec().as_dict() == {"worker": workers}
    assert (resolver.task_type, resolver.task_id) == ("worker", 2)
    assert resolver.num_accelerators() == {"GPU": 0}


@pytest.mark.usefixtures("slurm")
@pytest.mark.parametrize("name", ["SLURM_STEP_NODELIST", "SLURM_STEP_TASKS_PER_NODE"])
def test_slurm_without_a_variable(monkeypatch, name):
    monkeypatch.delenv(name)
    with pytest.raises(ValueError, match="SLURM's variables do not describe"):
        cluster.resolve()


@pytest.mark.usefixtures("slurm")
def test_tf_config_comes_before_slurm(monkeypatch):
    config = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert cluster.resolve().cluster_spec().as_dict() == {"worker": ["a:1", "b:1"]}


def test_errors(monkeypatch):
    with pytest.raises(ValueError, match="needs to know its workers: set .* TF_CONFIG"):
        strategy.create("multi_worker")
    for text in ("{", "[]", '"a"', '{"cluster": []}', '{"cluster": "localhost:1"}', 9999 * "["):
        monkeypatch.setenv("TF_CONFIG", text)
        with pytest.raises(ValueError, match="TF_CONFIG must be a JSON object"):
            strategy.create("auto")


@pytest.mark.parametrize("name", ["auto", "multi_worker"])
@pytest.mark.parametrize(
    "workers", ["localhost:1", ["localhost"], [1], {"0": "a:1"}, ["a:1", None]]
)
def test_workers_that_are_no_list_of_addresses_are_refused(monkeypatch, name, workers):
    config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    with pytest.raises(InvalidValueError, match="TF_CONFIG must list the worker as"):
        strategy.create(name)


@pytest.mark.parametrize("name", ["auto", "multi_worker"])
@pytest.mark.parametrize("workers", [["a:1"], ["a:1", "b:1"]])
@pytest.mark.parametrize(
    "task",
    [None, 3, {}, {"type": "worker"}, {"index": 0}, {"type": "ps", "index": 0}]
    + [{"type": "worker", "index": index} for index in (5, -1, "x", None, 0.5, [0], True)]
    + [{"type": ["worker"], "index": 0}],
)
def test_who_this_process_is_must_be_said(monkeypatch, name, workers, task):
    config = {"cluster": {"worker": workers}} | ({} if task is None else {"task": task})
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    with pytest.raises(
        InvalidValueError, match=r"TF_CONFIG must say by task\.type and task\.index"
    ):
        strategy.create(name)


def test_a_chief_is_one_of_the_workers(monkeypatch):
    config = {"cluster": {"chief": ["a:1"], "worker": ["b:1"]}}
    config["task"] = {"type": "chief", "index": "0"}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert cluster.has_several_workers()
    assert (cluster.resolve().task_type, cluster.resolve().task_id) == ("chief", 0)


def test_a_missing_tpu_is_named(monkeypatch):
    def nothing(address):
        raise ValueError(f"no such TPU: {address}")

    monkeypatch.setenv("TPU_NAME", "mine")
    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", nothing)
    with pytest.raises(ValueError, match="cannot use the TPU 'mine' .no such TPU: mine.: set TPU"):
        strategy.create("tpu")


@pytest.mark.slow
def test_a_worker_does_not_wait_for_ever():
    """The others never start: the wait, which no handler of Python's interrupts, is ended."""
    code = (
        "from homoode_tf.training.devices import cluster\n"
        "cluster._START_SECONDS = 2\n"
        "cluster.start()\n"
    )
    workers = [f"localhost:{port}" for port in _free_ports(2)]
    task = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": 0}}
    environment = {**os.environ, "TF_CONFIG": json.dumps(task)}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, timeout=120)
    assert ended.returncode == -signal.SIGALRM


def _free_ports(number):
    sockets = [socket.create_server(("localhost", 0)) for _ in range(number)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
