# SPDX-License-Identifier: Apache-2.0
import types

import pytest
import tensorflow as tf

from homoode_tf.errors import InvalidValueError
from homoode_tf.training.devices import precision


def strategy_of(*devices):
    """As much of a strategy as the choice reads."""
    paths = tuple(f"/job:localhost/replica:0/task:0/device:{device}" for device in devices)
    return types.SimpleNamespace(extended=types.SimpleNamespace(worker_devices=paths))


@pytest.fixture
def cpu(monkeypatch, tmp_path):
    """A function that sets what the processor says of itself."""
    precision._cpu_has_bfloat16.cache_clear()
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr(precision, "_CPU_INFO", file)
    yield file.write_text
    precision._cpu_has_bfloat16.cache_clear()


@pytest.mark.parametrize(
    "said,chosen",
    [
        ("model name\t: bf16\nflags\t\t: fpu avx512f avx512_bf16 sse\n", "mixed_bfloat16"),
        ("flags\t\t: fpu amx_bf16\n", "mixed_bfloat16"),
        ("Features\t: fp asimd bf16\n", "mixed_bfloat16"),
        ("model name\t: bf16\nflags\t\t: fpu avx512f\n", "float32"),
        ("", "float32"),
    ],
)
def test_auto_is_bfloat16_where_the_processor_has_it(cpu, said, chosen):
    cpu(said)
    assert precision.choose("auto", strategy_of("CPU:0", "CPU:1")) == chosen


def test_auto_is_float32_where_the_processor_says_nothing(cpu):
    assert precision.choose("auto", strategy_of("CPU:0")) == "float32"


@pytest.mark.parametrize(
    "capability,chosen",
    [((8, 0), "mixed_bfloat16"), ((9, 0), "mixed_bfloat16"), ((7, 5), "float32")],
)
def test_auto_on_gpus_asks_for_ampere(monkeypatch, capability, chosen):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    details = {"compute_capability": capability}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    assert precision.choose("auto", strategy_of("GPU:0")) == chosen


@pytest.mark.parametrize("name", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_named_precision_stays(name):
    assert precision.choose(name, strategy_of("GPU:0")) == name


def test_float16_on_a_cpu_is_refused_with_the_reason():
    with pytest.raises(InvalidValueError, match="no fast gradient of a convolution in float16"):
        precision.choose("mixed_float16", tf.distribute.OneDeviceStrategy("/cpu:0"))
