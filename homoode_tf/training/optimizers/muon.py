# SPDX-License-Identifier: Apache-2.0
"""Keras's Muon, extended to convolution kernels, whose norms it keeps."""

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="homoode_tf")
class ConvMuon(keras.optimizers.Muon):
    """Muon for the convolution kernels, Adam for everything else.

    Keras's Muon orthogonalises the momentum of matrices and leaves all else to Adam, which for a
    convolutional network is nearly everything. Here a kernel of shape (height, width, in, out) is
    taken as a matrix of shape (height * width * in, out). With its orthogonalised momentum O, of
    rank r, a step is ::

        w <- w - rate * |w| / sqrt(r) * O,   then scaled back to the norm it had before,

    so that `rate` is the relative length of a step and the norm, which the normalisation that
    follows each of these convolutions makes meaningless, cannot drift. Weight decay, which acts
    through that norm, is therefore of no use for these kernels.

    Kernels that read an image's own channels (fewer than `smallest_input`) and dense layers are
    trained by Adam, as are scales and biases.

    Args:
        learning_rate: Relative step of the kernels, a number or a schedule.
        smallest_input: Least number of input channels for a kernel to be orthogonalised.
        **kwargs: Arguments of `keras.optimizers.Muon`. `adam_lr_ratio` times the learning rate
            is Adam's.

    Example:
        >>> optimizer = ConvMuon(0.05, adam_lr_ratio=0.06, weight_decay=None)

    Reference:
        Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024,
        https://kellerjordan.github.io/posts/muon/
    """

    def __init__(self, learning_rate=0.05, smallest_input: int = 8, **kwargs):
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.smallest_input = smallest_input

    def _should_use_adamw(self, variable):
        return len(variable.shape) != 4 or variable.shape[2] < self.smallest_input

    def _muon_update_step(self, gradient, variable, lr, m):
        self.assign_add(m, gradient + m * (self.momentum - 1.0))
        update = gradient + self.momentum * m if self.nesterov else tf.convert_to_tensor(m)
        matrix = tf.reshape(update, [-1, variable.shape[-1]])
        direction = self.zeropower_via_newtonschulz5(matrix, self.ns_steps)
        direction = tf.reshape(direction / min(matrix.shape) ** 0.5, variable.shape)
        kernel = tf.convert_to_tensor(variable)
        norm = tf.norm(kernel)
        moved = kernel - lr * norm * direction
        self.assign(variable, moved * (norm / tf.norm(moved)))

    def get_config(self):
        return {**super().get_config(), "smallest_input": self.smallest_input}
