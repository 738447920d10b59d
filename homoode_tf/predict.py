# SPDX-License-Identifier: Apache-2.0
"""Classifies image files: the short name of `homoode_tf.serving.predict`."""

if __name__ == "__main__":
    from homoode_tf import commands

    commands.predict()

from homoode_tf.serving.predict import *  # noqa: F403
