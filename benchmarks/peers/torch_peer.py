# SPDX-License-Identifier: Apache-2.0
"""The same HomoODE in PyTorch with torchdiffeq."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
import torchdiffeq
from torch import nn

from benchmarks import reference_model as facts
from benchmarks.peers import PeerSpec


class Dynamics(nn.Module):
    """F(z; x) = GN(conv(relu(GN(conv(z))) + x))."""

    def __init__(self):
        super().__init__()
        channels = facts.CHANNELS
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm1 = nn.GroupNorm(facts.GROUPS, channels, facts.EPSILON)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(facts.GROUPS, channels, facts.EPSILON)

    def forward(self, z, x):
        return self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(z))) + x))


class _HomoODE(nn.Module):
    """z' = F(z; x) from z0 at time 0 to time 1, by torchdiffeq."""

    def __init__(self, spec: PeerSpec):
        super().__init__()
        self.dynamics = Dynamics()
        self.field = self.dynamics  # what is called; `torch.compile` replaces it
        value = torch.from_numpy(facts.initial_point()).reshape(1, -1, 1, 1)
        self.register_buffer("initial_point", value)
        self.register_buffer("times", torch.tensor([0.0, 1.0]))
        self.calls = self.derivatives = 0
        self.options = {"rtol": spec.tolerance, "atol": spec.tolerance, "method": "dopri5"}
        if spec.num_steps is not None:
            self.options = {"method": "rk4", "options": {"step_size": 1.0 / spec.num_steps}}
        self.adjoint = spec.variant == "adjoint"
        if self.adjoint and spec.settings.get("seminorm") and spec.num_steps is None:
            self.options["adjoint_options"] = {"norm": "seminorm"}

    def _count_derivative(self, gradient):
        self.derivatives += 1

    def forward(self, x):
        def field(_, z):
            self.calls += 1
            slope = self.field(z, x)
            if slope.requires_grad:
                slope.register_hook(self._count_derivative)
            return slope

        z0 = self.initial_point.expand_as(x).clone(memory_format=torch.preserve_format)
        if self.adjoint:
            sources = (*self.dynamics.parameters(), x)
            states = torchdiffeq.odeint_adjoint(
                field, z0, self.times, adjoint_params=sources, **self.options
            )
        else:
            states = torchdiffeq.odeint(field, z0, self.times, **self.options)
        return states[-1]


class _Classifier(nn.Module):
    """Normalised image, stem, HomoODE, head."""

    def __init__(self, implicit: nn.Module):
        super().__init__()
        channels, wide = facts.CHANNELS, facts.HEAD_CHANNELS
        self.register_buffer("mean", torch.tensor(facts.MEAN).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(facts.STD).reshape(1, -1, 1, 1))

        def batch_norm(size):
            return nn.BatchNorm2d(size, facts.EPSILON, 1.0 - facts.BATCH_NORM_MOMENTUM)

        self.stem = nn.Sequential(
            nn.Conv2d(facts.IMAGE_SHAPE[-1], channels, 3, padding=1),
            batch_norm(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, stride=2, padding=1),
            batch_norm(channels),
            nn.ReLU(),
        )
        self.implicit = implicit
        self.head = nn.Sequential(
            nn.GroupNorm(facts.GROUPS, channels, facts.EPSILON),
            nn.ReLU(),
            nn.Conv2d(channels, wide, 1),
            batch_norm(wide),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(wide, facts.NUM_CLASSES),
        )

    def condition(self, images):
        return self.stem((images.float() / 255.0 - self.mean) / self.std)

    def forward(self, images):
        return self.head(self.implicit(self.condition(images)))


class Peer:
    """Variants "backprop" (through `odeint`) and "adjoint" (`odeint_adjoint`).

    Settings:
        channels_last: Memory format of images and weights.
        compile: Whether dynamics, stem and head go through `torch.compile`.
        seminorm: Whether the adjoint's error norm leaves its quadratures out.
    """

    _implicit: Callable[[PeerSpec], nn.Module] = _HomoODE
    _adam: ClassVar[Mapping[str, Any]] = {}  # more of its settings

    def __init__(self, spec: PeerSpec, weights: dict[str, np.ndarray]):
        torch.set_num_threads(spec.threads)
        self.versions = {"torch": torch.__version__, "torchdiffeq": torchdiffeq.__version__}
        self._weights = weights
        self._format = (
            torch.channels_last if spec.settings.get("channels_last") else torch.contiguous_format
        )
        self.model = _Classifier(self._implicit(spec)).to(memory_format=self._format)
        self._parameters = _parameters_by_name(self.model)
        if spec.settings.get("compile"):
            self._compile(spec.settings["compile"])
        self._backward_evaluations = 0
        self.reset()

    def _logits(self, images):
        return self.model(images)

    def _compile(self, _):
        implicit = self.model.implicit
        implicit.field = torch.compile(implicit.dynamics, dynamic=False)
        self.model.stem.compile(dynamic=False)
        self.model.head.compile(dynamic=False)

    def place(self, images, labels):
        images = torch.from_numpy(images).permute(0, 3, 1, 2)
        return images.contiguous(memory_format=self._format), torch.from_numpy(labels)

    def forward(self, batch):
        self.model.eval()
        self.model.implicit.calls = 0
        with torch.no_grad():
            return self._logits(batch[0]).numpy()

    def _backward(self, batch):
        implicit = self.model.implicit
        self.model.train()
        self._optimizer.zero_grad()
        implicit.calls = 0
        loss = nn.functional.cross_entropy(self._logits(batch[0]), batch[1])
        forward_calls = implicit.calls
        implicit.calls = implicit.derivatives = 0
        loss.backward()
        # Backpropagation evaluates nothing anew; the adjoint does, each time with a derivative.
        self._backward_evaluations = max(implicit.calls, implicit.derivatives)
        implicit.calls = forward_calls
        return loss

    def step(self, batch):
        loss = self._backward(batch)
        self._optimizer.step()
        return loss.item()

    def gradients(self, batch):
        self._backward(batch)
        return {
            name: _from_torch(parameter.grad, name)
            for name, parameter in self._parameters.items()
            if facts.is_trainable(name)
        }

    def evaluations(self):
        return self.model.implicit.calls, self._backward_evaluations

    def reset(self):
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(_to_torch(self._weights[name], name))
        adam = facts.ADAM
        self._optimizer = torch.optim.Adam(
            self.model.parameters(),
            lr=facts.LEARNING_RATE,
            betas=(adam["beta_1"], adam["beta_2"]),
            eps=adam["epsilon"],
            **self._adam,
        )


def _parameters_by_name(model: _Classifier) -> dict[str, torch.Tensor]:
    """Parameters and moments under the names of `reference_model.make_weights`."""
    dynamics = model.implicit.dynamics
    modules = {
        "stem.conv1": model.stem[0],
        "stem.norm1": model.stem[1],
        "stem.conv2": model.stem[3],
        "stem.norm2": model.stem[4],
        "dynamics.conv1": dynamics.conv1,
        "dynamics.norm1": dynamics.norm1,
        "dynamics.conv2": dynamics.conv2,
        "dynamics.norm2": dynamics.norm2,
        "head.state_norm": model.head[0],
        "head.conv": model.head[2],
        "head.norm": model.head[3],
        "head.logits": model.head[7],
    }
    ours_to_torch = {
        "kernel": "weight",
        "gamma": "weight",
        "bias": "bias",
        "beta": "bias",
        "moving_mean": "running_mean",
        "moving_variance": "running_var",
    }
    found = {}
    for name, module in modules.items():
        is_norm = isinstance(module, nn.GroupNorm | nn.BatchNorm2d)
        names = ["gamma", "beta"] if is_norm else ["kernel", "bias"]
        if isinstance(module, nn.BatchNorm2d):
            names += ["moving_mean", "moving_variance"]
        for each in names:
            found[f"{name}.{each}"] = getattr(module, ours_to_torch[each])
    return found


def _to_torch(value: np.ndarray, name: str) -> torch.Tensor:
    if name.endswith(".kernel"):
        value = value.transpose((3, 2, 0, 1) if value.ndim == 4 else (1, 0))
    return torch.from_numpy(np.array(value))


def _from_torch(tensor: torch.Tensor, name: str) -> np.ndarray:
    value = tensor.detach().numpy()
    if name.endswith(".kernel"):
        value = value.transpose((2, 3, 1, 0) if value.ndim == 4 else (1, 0))
    return np.ascontiguousarray(value)
