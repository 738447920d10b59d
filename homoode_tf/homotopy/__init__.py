# SPDX-License-Identifier: Apache-2.0
"""Homotopy continuation: following a path from a known point to a zero of a residual.

Example:
    >>> from homoode_tf import homotopy
    >>> path = homotopy.trace(lambda z: z - tf.cos(z), tf.zeros([3], tf.float64))
    >>> path.state.numpy().round(8)
    array([0.73908513, 0.73908513, 0.73908513])
"""

from homoode_tf.homotopy.continuation import trace
from homoode_tf.homotopy.path import HomotopyError, Path, PathStatus

__all__ = ["HomotopyError", "Path", "PathStatus", "trace"]
