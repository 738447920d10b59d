# SPDX-License-Identifier: Apache-2.0
"""Which devices a run uses."""

import json
import os

import tensorflow as tf

NAMES = ("auto", "one_device", "mirrored", "multi_worker")


def create(name: str = "auto") -> tf.distribute.Strategy:
    """Makes a distribution strategy by name.

    Args:
        name: "one_device", the first GPU where there is one and the CPU otherwise; "mirrored",
            all GPUs of this machine, or all of its logical CPU devices; "multi_worker", the
            processes that the environment variable `TF_CONFIG` lists; "auto", "mirrored" where
            there are several GPUs and "one_device" otherwise.

    Returns:
        The strategy. It must be made before any other TensorFlow operation runs, for
        "multi_worker" then starts the group of processes.

    Raises:
        ValueError: If the name is unknown, or "multi_worker" finds no usable `TF_CONFIG`.
    """
    if name not in NAMES:
        raise ValueError(f"strategy must be one of {', '.join(NAMES)}, got {name!r}.")
    if name == "multi_worker":
        _require_cluster()
        return tf.distribute.MultiWorkerMirroredStrategy()
    gpus = tf.config.list_logical_devices("GPU")
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        devices = gpus or tf.config.list_logical_devices("CPU")
        # On CPUs the default reduces by collectives, whose keys a second strategy in the same
        # process would use again, with other shapes.
        reduction = None if gpus else tf.distribute.ReductionToOneDevice()
        return tf.distribute.MirroredStrategy([device.name for device in devices], reduction)
    return tf.distribute.OneDeviceStrategy("/gpu:0" if gpus else "/cpu:0")


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this process writes checkpoints, logs and results."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.cluster_spec().jobs:
        return True
    return resolver.task_type in (None, "chief") or (
        "chief" not in resolver.cluster_spec().jobs and resolver.task_id == 0
    )


def _require_cluster() -> None:
    text = os.environ.get("TF_CONFIG", "")
    try:
        workers = json.loads(text or "{}").get("cluster", {}).get("worker", [])
    except (AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"TF_CONFIG must be a JSON object, got {text!r}.") from error
    if not workers:
        raise ValueError(
            "strategy multi_worker needs the environment variable TF_CONFIG to list the workers, "
            'as {"cluster": {"worker": ["host:port", ...]}, '
            f'"task": {{"type": "worker", "index": 0}}}}, got {text!r}.'
        )
