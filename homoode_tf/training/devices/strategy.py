# SPDX-License-Identifier: Apache-2.0
"""Which devices a run uses."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

from homoode_tf.checks import check_choice
from homoode_tf.errors import InvalidValueError, UserError
from homoode_tf.graph_errors import reason
from homoode_tf.training.devices import cluster

NAMES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")
# What a worker gets when one of the others is gone.
OF_A_LOST_WORKER = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.DeadlineExceededError,
)


class WorkerLostError(UserError, RuntimeError):
    """Another worker of the run has ended, or cannot be reached."""


def create(name: str = "auto") -> tf.distribute.Strategy:
    """Makes a distribution strategy by name.

    Args:
        name: "one_device", the first GPU where there is one and the CPU otherwise; "mirrored",
            all GPUs of this machine, or all of its logical CPU devices; "multi_worker", the
            processes that `TF_CONFIG` or SLURM's variables list; "tpu", the TPU that `TPU_NAME`
            names, or this machine's own; "auto", the first that fits: "multi_worker" where several
            processes are listed, "tpu" where there is one, "mirrored" where there are several
            GPUs, and "one_device" otherwise.

    Returns:
        The strategy. It must be made before any other TensorFlow operation runs, for
        "multi_worker" then starts the group of processes.

    Raises:
        InvalidValueError: If the name is unknown, or what it needs is not there.

    Example:
        >>> create("one_device").num_replicas_in_sync
        1
    """
    check_choice("strategy", name, NAMES)
    if name == "multi_worker" or (name == "auto" and cluster.has_several_workers()):
        return cluster.start()
    if name == "tpu" or (name == "auto" and tf.config.list_physical_devices("TPU")):
        return _tpu()
    gpus = tf.config.list_logical_devices("GPU")
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        devices = gpus or tf.config.list_logical_devices("CPU")
        # On CPUs the default reduces by collectives, whose keys a second strategy in the same
        # process would use again, with other shapes.
        reduction = None if gpus else tf.distribute.ReductionToOneDevice()
        return tf.distribute.MirroredStrategy([device.name for device in devices], reduction)
    return tf.distribute.OneDeviceStrategy("/gpu:0" if gpus else "/cpu:0")


def has_several_workers(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether the strategy spans several processes."""
    resolver = strategy.cluster_resolver
    return resolver is not None and sum(map(len, resolver.cluster_spec().as_dict().values())) > 1


def in_words(strategy: tf.distribute.Strategy) -> str:
    """Returns the number, kind and, of a GPU, name of the devices that a strategy uses.

    Example:
        >>> in_words(create("one_device"))
        '1 CPU'
    """
    kind = tf.DeviceSpec.from_string(strategy.extended.worker_devices[0]).device_type or "CPU"
    text = f"{strategy.num_replicas_in_sync} {kind}"
    if kind == "GPU":
        gpu = tf.config.list_physical_devices("GPU")[0]
        text += f" ({tf.config.experimental.get_device_details(gpu).get('device_name', '?')})"
    return text


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this process writes checkpoints, logs and results."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.cluster_spec().jobs:
        return True
    return resolver.task_type in (None, "chief") or (
        "chief" not in resolver.cluster_spec().jobs and resolver.task_id == 0
    )


@contextlib.contextmanager
def explaining_a_lost_worker(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Within this context the loss of another worker is a `WorkerLostError`."""
    try:
        yield
    except OF_A_LOST_WORKER as error:
        if not has_several_workers(strategy):
            raise
        raise WorkerLostError(
            f"another worker of this run is gone ({reason(error)}). Start all workers again "
            "with the same command: they go on at the last checkpoint."
        ) from error


def largest_over_workers(strategy: tf.distribute.Strategy) -> Callable[[int], int]:
    """Returns a function from a worker's number to the largest that any worker gave.

    Of several workers each must call it equally often, for it waits for the others.
    """
    if not has_several_workers(strategy):
        return lambda number: number
    gather = _gatherer(strategy)
    return lambda number: int(tf.reduce_max(gather(tf.constant([number], tf.int64))))


def gather_over_workers(strategy: tf.distribute.Strategy, numbers: Sequence[int]) -> list[int]:
    """Returns the integers of all workers, as many of each, in the workers' order.

    It waits for the others.
    """
    numbers = tf.constant(numbers, tf.int64)
    # Called as it is, TensorFlow would take the functions of several calls for one retraced.
    gather = _gatherer(strategy).get_concrete_function(numbers)
    return gather(numbers).numpy().tolist()


def _gatherer(strategy):
    @tf.function(autograph=False)
    def gather(numbers):
        def on_replica():
            # identity, because an argument has no device that says where to gather.
            mine = tf.identity(numbers)
            # Of a worker with several replicas, its first one's.
            replica = tf.distribute.get_replica_context()
            return replica.all_gather(mine[tf.newaxis], axis=0)

        every = strategy.experimental_local_results(strategy.run(on_replica))[0]
        workers = sum(map(len, strategy.cluster_resolver.cluster_spec().as_dict().values()))
        return tf.reshape(every[:: strategy.num_replicas_in_sync // workers], [-1])

    return gather


def _tpu() -> tf.distribute.Strategy:
    address = os.environ.get("TPU_NAME", "local")
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(address)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (tf.errors.OpError, ValueError, RuntimeError, OSError) as error:
        raise InvalidValueError(
            f"strategy tpu cannot use the TPU {address!r} ({reason(error)}): set TPU_NAME to its "
            "name or address, or choose another --strategy."
        ) from error
    return tf.distribute.TPUStrategy(resolver)
