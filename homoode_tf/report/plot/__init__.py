# SPDX-License-Identifier: Apache-2.0
"""The figures of one run; its door is `homoode_tf.plot`."""
