# SPDX-License-Identifier: Apache-2.0
"""Trains models side by side: the short name of `homoode_tf.report.compare`."""

from homoode_tf.report.compare import Experiment, Member, summarise

__all__ = ["Experiment", "Member", "summarise"]

if __name__ == "__main__":
    from homoode_tf.report.compare.command import start

    start()
