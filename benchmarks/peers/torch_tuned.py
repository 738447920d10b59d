# SPDX-License-Identifier: Apache-2.0
"""The same HomoODE in PyTorch as fast as can be: what our solver does, written out by hand."""

from typing import ClassVar

import numpy as np
import torch
from scipy.integrate import RK45
from torch import nn
from torch.utils.checkpoint import checkpoint

from benchmarks import peers
from benchmarks import reference_model as facts
from benchmarks.peers import torch_peer

# Dormand and Prince's method; numbers of Python, which a compiler takes for constants.
_STAGES = [row[:stage].tolist() for stage, row in enumerate(RK45.A)][1:]
_END, _ERROR = RK45.B.tolist(), RK45.E.tolist()


class _OneStep(nn.Module):
    """z(1) by one step of length 1, and its error norm, as a solver needs it to accept the step."""

    def __init__(self, spec: peers.PeerSpec):
        super().__init__()
        if spec.num_steps not in (None, 1):
            raise ValueError(f"num_steps must be None or 1 for {spec.name}, got {spec.num_steps}.")
        self.dynamics = torch_peer.Dynamics()
        self.recompute = spec.settings.get("recompute", False)
        self.tolerance = spec.tolerance
        value = torch.from_numpy(facts.initial_point()).reshape(1, -1, 1, 1)
        self.register_buffer("initial_point", value)
        self.register_buffer("error", torch.zeros(()))

    def forward(self, x):
        # The state is not halved by autocast, and ours is not either.
        start = torch.zeros_like(x, dtype=self.initial_point.dtype) + self.initial_point
        slopes = [self._slope(start, x)]
        for weights in _STAGES:
            slopes.append(self._slope(start + _sum(weights, slopes), x))
        end = start + _sum(_END, slopes)
        with torch.no_grad():
            error = _sum(_ERROR, [*slopes, self.dynamics(end, x)])
            size = self.tolerance * (1.0 + torch.maximum(start.abs(), end.abs()))
            self.error.copy_((error / size).square().mean().sqrt())
        return end

    def _slope(self, z, x):
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(self.dynamics, z, x, use_reentrant=False)
        return self.dynamics(z, x)


def _sum(weights, slopes):
    return sum(w * k for w, k in zip(weights, slopes, strict=True) if w)


class Peer(torch_peer.Peer):
    """Variants "tuned" (float32) and "tuned_bfloat16" (autocast).

    Weights that training changes cannot be frozen, so that inference is not compiled for theirs.

    Settings:
        channels_last: Memory format of images and weights.
        compile: Mode of `torch.compile`, of the whole network with its step; "" compiles nothing.
        compile_step: Whether training is compiled, too, and not inference alone.
        recompute: Whether the backward pass evaluates F anew instead of keeping what is inside it.
    """

    _implicit = _OneStep
    _adam: ClassVar = {"fused": True}

    def __init__(self, spec: peers.PeerSpec, weights: dict[str, np.ndarray]):
        self._compile_step = spec.settings.get("compile_step", True)
        self._half = spec.precision == "bfloat16"
        super().__init__(spec, weights)
        self.versions = {"torch": torch.__version__}

    def _compile(self, mode):
        self._logits = torch.compile(self._logits, mode=mode, dynamic=False, fullgraph=True)
        if self._compile_step:
            self._loss = torch.compile(self._loss, mode=mode, dynamic=False, fullgraph=True)

    def _logits(self, images):
        return self._network(images)

    def _network(self, images):
        model = self.model
        with torch.autocast("cpu", torch.bfloat16, enabled=self._half):
            y = model.implicit(model.condition(images))
            for layer in model.head[:-1]:
                y = layer(y)
        # Logits have the weights' precision, as ours do for the softmax's sake.
        return model.head[-1](y.to(model.head[-1].weight.dtype))

    def _loss(self, images, labels):
        return nn.functional.cross_entropy(self._network(images), labels)

    def _backward(self, batch):
        self.model.train()
        self._optimizer.zero_grad()
        loss = self._loss(*batch)
        loss.backward()
        return loss

    def evaluations(self):
        return peers.ONE_STEP_EVALUATIONS
