# SPDX-License-Identifier: Apache-2.0
"""HomoODE for TensorFlow and Keras 3: implicit layers, their solvers, and their training."""

from homoode_tf import notices
from homoode_tf.version import __version__

with notices.held_back():
    from homoode_tf import homotopy, layers, solvers

__all__ = ["__version__", "homotopy", "layers", "solvers"]
