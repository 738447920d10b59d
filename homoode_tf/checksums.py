# SPDX-License-Identifier: Apache-2.0
"""Deprecated: the old place of `homoode_tf.serving.checksums`."""

import warnings

from homoode_tf.serving.checksums import check, describe, write  # noqa: F401

_MOVED = "homoode_tf.checksums has moved: import homoode_tf.serving.checksums"
warnings.warn(_MOVED, DeprecationWarning, stacklevel=2)
