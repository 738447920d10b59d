# SPDX-License-Identifier: Apache-2.0
"""Classifies image files: the short name of `homoode_tf.serving.predict`."""

import sys

from homoode_tf.serving.predict import *  # noqa: F403

if __name__ == "__main__":
    from homoode_tf.serving.predict.command import main

    sys.exit(main())
