# SPDX-License-Identifier: Apache-2.0
"""Deprecated: the old place of `homoode_tf.serving.export`."""

import warnings

from homoode_tf.serving.export import save  # noqa: F401

_MOVED = "homoode_tf.export has moved: import homoode_tf.serving.export"
warnings.warn(_MOVED, DeprecationWarning, stacklevel=2)
