# SPDX-License-Identifier: Apache-2.0
"""Which precision a run's devices compute in."""

import functools
import pathlib
from collections.abc import Callable

import tensorflow as tf

from homoode_tf.errors import InvalidValueError

NAMES = ("float32", "mixed_bfloat16", "mixed_float16", "auto")
_CPU_INFO = pathlib.Path("/proc/cpuinfo")
# What Linux calls arithmetic in bfloat16: of x86 processors, and of ARM's.
_CPU_FLAGS = frozenset({"amx_bf16", "avx512_bf16", "bf16"})
# NVIDIA's Ampere.
_GPU_CAPABILITY = (8, 0)


def choose(precision: str, strategy: tf.distribute.Strategy) -> str:
    """Returns the Keras dtype policy that a precision means on a strategy's devices.

    Args:
        precision: One of `NAMES`. "auto" is "mixed_bfloat16" where the devices compute in bfloat16
            natively (a CPU with AMX, AVX512_BF16 or ARM's BF16, a GPU of compute capability 8.0 or
            later, a TPU), and "float32" elsewhere and where that cannot be known.
        strategy: The run's distribution strategy.

    Returns:
        "float32", "mixed_bfloat16" or "mixed_float16".

    Raises:
        InvalidValueError: If the precision is "mixed_float16" on a CPU.

    Example:
        >>> choose("float32", tf.distribute.OneDeviceStrategy("/cpu:0"))
        'float32'
    """
    # "/job:localhost/replica:0/task:0/device:GPU:0"
    kinds = {device.upper().split(":")[-2] for device in strategy.extended.worker_devices}
    if precision == "mixed_float16" and "CPU" in kinds:
        # One backward pass of a convolution of the CIFAR-10 model takes seconds there.
        raise InvalidValueError(
            "config.precision cannot be mixed_float16 on a CPU, which has no fast gradient of a "
            "convolution in float16: set it to auto, mixed_bfloat16 or float32."
        )
    if precision != "auto":
        return precision
    native: dict[str, Callable[[], bool]] = {
        "CPU": _cpu_has_bfloat16,
        "GPU": _gpus_have_bfloat16,
        "TPU": lambda: True,
    }
    return "mixed_bfloat16" if all(native[kind]() for kind in kinds) else "float32"


@functools.cache
def _cpu_has_bfloat16() -> bool:
    try:
        lines = _CPU_INFO.read_text().splitlines()
    except OSError:
        return False
    words = {
        word
        for line in lines
        if line.lower().startswith(("flags", "features"))
        for word in line.split()
    }
    return not _CPU_FLAGS.isdisjoint(words)


def _gpus_have_bfloat16() -> bool:
    details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
    return all(gpu.get("compute_capability", (0, 0)) >= _GPU_CAPABILITY for gpu in details)
