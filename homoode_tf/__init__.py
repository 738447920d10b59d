# SPDX-License-Identifier: Apache-2.0
"""HomoODE for TensorFlow and Keras 3: implicit layers, their solvers, and their training."""

from homoode_tf import homotopy, layers, solvers
from homoode_tf.version import __version__

__all__ = ["__version__", "homotopy", "layers", "solvers"]
