# SPDX-License-Identifier: Apache-2.0
"""Which processes train together, as their environment says."""

import json
import os

import tensorflow as tf

from homoode_tf.errors import InvalidValueError

# Jobs that share a node must not share ports: they are spread over this many, by the job's number.
_FIRST_PORT, _NUM_PORTS, _PORTS_A_JOB = 12_000, 16_000, 32
_HOW_TO = (
    'the environment variable TF_CONFIG, {"cluster": {"worker": ["host:port", ...]}, '
    '"task": {"type": "worker", "index": 0}}, or start the processes by SLURM\'s srun'
)


def has_several_workers() -> bool:
    """Returns whether the environment describes a group of processes that this one belongs to.

    Raises:
        InvalidValueError: If `TF_CONFIG` is no JSON object.
    """
    return len(_workers_of_tf_config()) > 1 or (not _workers_of_tf_config() and _under_srun())


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


def _workers_of_tf_config() -> list[str]:
    text = os.environ.get("TF_CONFIG", "")
    try:
        return json.loads(text or "{}").get("cluster", {}).get("worker", [])
    except (AttributeError, json.JSONDecodeError) as error:
        raise InvalidValueError(
            f"TF_CONFIG must be a JSON object, got {text!r}: set {_HOW_TO}."
        ) from error


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
