# SPDX-License-Identifier: Apache-2.0
"""Which processes train together, as their environment says."""

import json
import os
import re
import signal
import threading
from typing import Any

import tensorflow as tf
from absl import logging

# TensorFlow has no public way to set the times after which a worker is given up.
from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
from tensorflow.python.distribute import multi_worker_util
from tensorflow.python.eager import context

from homoode_tf.errors import InvalidValueError
from homoode_tf.graph_errors import reason

# Jobs that share a node must not share ports: they are spread over this many, by the job's number.
_FIRST_PORT, _NUM_PORTS, _PORTS_A_JOB = 12_000, 16_000, 32
# How long a worker may be silent, as a machine that is stopped and moved.
_SILENT_SECONDS = 120
# How long a worker waits for the others to start.
_START_SECONDS = 600
# Those that train; others, as an evaluator, are not of this group.
_JOBS = ("chief", "worker")
_ADDRESS = re.compile(r"\S+:\d{1,5}")
_HOW_TO = (
    'the environment variable TF_CONFIG, {"cluster": {"worker": ["host:port", ...]}, '
    '"task": {"type": "worker", "index": 0}}, or start the processes by SLURM\'s srun'
)


def has_several_workers() -> bool:
    """Returns whether the environment describes a group of processes that this one belongs to.

    Raises:
        InvalidValueError: If `TF_CONFIG` does not describe a group that this process is one of.
    """
    workers = _workers_of_tf_config()
    return len(workers) > 1 or (not workers and _under_srun())


def resolve() -> tf.distribute.cluster_resolver.ClusterResolver:
    """Returns the group that the environment describes: `TF_CONFIG`, or else SLURM's variables.

    Raises:
        InvalidValueError: If neither is there, or one cannot be understood.
    """
    if _workers_of_tf_config():
        return tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if "SLURM_PROCID" in os.environ:
        return _resolve_slurm()
    raise InvalidValueError(
        "strategy multi_worker needs to know its workers: set "
        f"{_HOW_TO}; got TF_CONFIG={os.environ.get('TF_CONFIG', '')!r}."
    )


def start() -> tf.distribute.MultiWorkerMirroredStrategy:
    """Starts this process's worker, and returns when all of them have started.

    It waits ten minutes for them, and then ends the process by an alarm (SIGALRM): TensorFlow's
    time-out for this has no effect here. Ctrl-C ends the process at once meanwhile.

    Raises:
        InvalidValueError: If the environment describes no group, this worker cannot listen at its
            address.
    """
    resolver = resolve()
    spec = resolver.cluster_spec()
    jobs = [
        coordination_config_pb2.CoordinatedJob(name=name, num_tasks=spec.num_tasks(name))
        for name in spec.jobs
    ]
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader=multi_worker_util.coordination_leader(spec),
        coordinated_jobs=jobs,
        heartbeat_timeout_in_ms=1000 * _SILENT_SECONDS,
    )
    is_main = threading.current_thread() is threading.main_thread()
    # Python's own handler waits for TensorFlow to return.
    previous = signal.signal(signal.SIGINT, signal.SIG_DFL) if is_main else None
    logging.info(
        "Waiting for all workers of %s to start; after %d seconds without them this one ends.",
        spec.as_dict(),
        _START_SECONDS,
    )
    signal.alarm(_START_SECONDS)
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except (tf.errors.OpError, RuntimeError) as error:
        address = spec.task_address(resolver.task_type, resolver.task_id)
        raise InvalidValueError(
            f"worker {resolver.task_id} cannot start at {address} ({reason(error)}): see that its "
            "port is free, and start all workers again."
        ) from error
    finally:
        signal.alarm(0)
        if is_main:
            signal.signal(signal.SIGINT, previous)


def _workers_of_tf_config() -> list[str]:
    """Returns the addresses of all that train, a chief's too, of which this process is one."""
    text = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(text or "{}")
    except (json.JSONDecodeError, RecursionError):
        config = None
    group = config.get("cluster", {}) if isinstance(config, dict) else None
    if not isinstance(group, dict):
        raise _wrong("must be a JSON object", text)
    jobs = {name: addresses for name, addresses in group.items() if name in _JOBS}
    for name, addresses in jobs.items():
        if not isinstance(addresses, list) or not all(map(_is_address, addresses)):
            raise _wrong(f'must list the {name} as ["host:port", ...]', text)
    workers = [address for addresses in jobs.values() for address in addresses]
    if workers:
        task = config.get("task")
        task = task if isinstance(task, dict) else {}
        name, index = task.get("type"), str(task.get("index"))
        addresses = jobs.get(name, []) if isinstance(name, str) else []
        # As TensorFlow does, the index is taken as text, too.
        if not (index.isdecimal() and int(index) < len(addresses)):
            raise _wrong(
                "must say by task.type and task.index, from 0, which of those in cluster this "
                "process is",
                text,
            )
    return workers


def _is_address(value: Any) -> bool:
    return isinstance(value, str) and bool(_ADDRESS.fullmatch(value))


def _wrong(what: str, text: str) -> InvalidValueError:
    return InvalidValueError(f"TF_CONFIG {what}, got {text!r}: set {_HOW_TO}.")


def _under_srun() -> bool:
    number = os.environ.get("SLURM_STEP_NUM_TASKS", "1")
    return "SLURM_PROCID" in os.environ and number.isdigit() and int(number) > 1


def _resolve_slurm() -> tf.distribute.cluster_resolver.ClusterResolver:
    gpus = tf.config.list_physical_devices("GPU")
    job = os.environ.get("SLURM_JOB_ID", "0")
    port = _FIRST_PORT + int(job) * _PORTS_A_JOB % _NUM_PORTS if job.isdigit() else _FIRST_PORT
    # Without GPUs TensorFlow's resolver fails, so it is told of one a task, which it does not set.
    without = {} if gpus else {"gpus_per_node": _PORTS_A_JOB, "gpus_per_task": 1}
    try:
        slurm = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=port, auto_set_gpu=bool(gpus), **without
        )
        spec = slurm.cluster_spec()
        task_type, task_id = slurm.get_task_info()
    except (KeyError, ValueError, RuntimeError, OSError) as error:
        raise InvalidValueError(
            f"SLURM's variables do not describe a group of workers ({error!r}): start one process "
            "a worker by srun, or set TF_CONFIG."
        ) from error
    if gpus:
        return slurm
    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        spec, task_type=task_type, task_id=task_id, num_accelerators={"GPU": 0}, rpc_layer="grpc"
    )
