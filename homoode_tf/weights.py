# SPDX-License-Identifier: Apache-2.0
"""The weights that ship with the package: the short name of `homoode_tf.report.weights`."""

if __name__ == "__main__":
    from homoode_tf import commands

    commands.weights()

from homoode_tf.models.weights import *  # noqa: F403
