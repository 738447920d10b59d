# SPDX-License-Identifier: Apache-2.0
"""Trains the fakes in a process of its own: run_fakes.py WORKDIR [seconds between steps]."""

import sys
import time

import tensorflow as tf

from homoode_tf import command_line
from homoode_tf.training import train
from tests.training import fakes


def main() -> None:
    fakes.install(setattr)
    pause = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    fakes.after_each_step(setattr, lambda state: print(f"made step {int(state.step)}", flush=True))
    fakes.after_each_step(setattr, lambda _: time.sleep(pause))
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()]
    )
    train(fakes.config(), sys.argv[1])


command_line._call(main)
