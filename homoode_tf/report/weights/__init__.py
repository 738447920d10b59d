# SPDX-License-Identifier: Apache-2.0
"""What the weights that ship are worth, measured; its door is `homoode_tf.weights`."""
