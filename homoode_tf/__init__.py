# SPDX-License-Identifier: Apache-2.0
"""HomoODE for TensorFlow and Keras 3: implicit layers, their solvers, and their training.

Importing it registers all layers and models with Keras, so that `keras.saving.load_model` finds
them.
"""

from homoode_tf import notices
from homoode_tf.version import __version__

with notices.held_back():
    from homoode_tf import homotopy, layers, models, solvers
    from homoode_tf.models.saved import load

__all__ = ["__version__", "homotopy", "layers", "load", "models", "solvers"]
