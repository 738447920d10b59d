# SPDX-License-Identifier: Apache-2.0
"""Trains, evaluates or exports a classifier: `homoode-train` of a checkout.

python train.py --help
"""

import os

# TensorFlow's notices about the machine would hide the progress bar; errors are still shown.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from homoode_tf import commands

if __name__ == "__main__":
    commands.train()
