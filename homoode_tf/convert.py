# SPDX-License-Identifier: Apache-2.0
"""Converts an exported model: the short name of `homoode_tf.serving.convert`."""

if __name__ == "__main__":
    from homoode_tf import commands

    commands.convert()

from homoode_tf.serving.convert import *  # noqa: F403
