# SPDX-License-Identifier: Apache-2.0
"""Models trained side by side; its door is `homoode_tf.compare`."""
