# SPDX-License-Identifier: Apache-2.0
"""The implementations that are compared: one framework a file, and how to name and start them.

Each file has a class made as `Peer(spec, weights)` with the methods

    place(images, labels)    moves a batch of NumPy arrays to the framework
    forward(batch)           logits in inference mode, as NumPy
    step(batch)              one Adam step in training mode; the loss as a float
    gradients(batch)         gradients by name in training mode, as NumPy, laid out as the weights
    evaluations()            evaluations of F in the last forward and the last backward pass
    device()                 where it runs: {"name", "peak_mib"}, the latter of the device's own
                             memory, None where that is the process's; of TensorFlow's alone
    reset()                  fresh weights, batch norm moments and optimiser

each of which returns only when its work is done.
"""

import dataclasses
import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from typing import Any

INSTALL = "pip install -e '.[bench,plots]'"

_MODULES = {
    "ours": "benchmarks.peers.tensorflow_peer",
    "tfp": "benchmarks.peers.tensorflow_peer",
    "torch": "benchmarks.peers.torch_peer",
    "jax": "benchmarks.peers.jax_peer",
}
_PACKAGES = {
    "ours": ("tensorflow", "tensorflow_probability"),
    "tfp": ("tensorflow", "tensorflow_probability"),
    "torch": ("torch", "torchdiffeq"),
    "jax": ("jax", "diffrax", "equinox"),
}
_VARIANTS = {
    "ours": ("backprop", "checkpoint", "adjoint"),
    "torch": ("backprop", "adjoint"),
    "jax": ("checkpoint", "backsolve"),
    "tfp": ("adjoint",),
}
FRAMEWORKS = tuple(_VARIANTS)


def _product(**choices):
    rows = [{}]
    for key, values in choices.items():
        rows = [{**row, key: value} for row in rows for value in values]
    return tuple(rows)


_TENSORFLOW_SETTINGS = _product(onednn=(True, False), jit_forward=(False, True))
_TORCH_SETTINGS = _product(channels_last=(False, True), compile=(False, True))
# "shifts" writes a convolution as a sum of nine matrix products. XLA for the CPU has no fast kernel
# for the derivative of its own ("lax"): a training step takes over ten times as long.
_JAX_SETTINGS = _product(convolution=("shifts",), max_steps=(4096, 64), first_step_size=(None, 0.1))
# Settings among which `fastest` chooses by measuring; the first are used without it.
_CANDIDATES = {
    "ours": _TENSORFLOW_SETTINGS,
    "tfp": _TENSORFLOW_SETTINGS,
    "torch": _TORCH_SETTINGS,
    "jax": _JAX_SETTINGS,
}
_OF_VARIANT = {
    # The seminorm leaves the quadratures out of the adjoint's error norm (Kidger et al. 2021).
    "torch/adjoint": {"seminorm": True},
}


@dataclasses.dataclass(frozen=True)
class PeerSpec:
    """One implementation with one way to differentiate, and how to run it.

    Attributes:
        name: "framework/variant".
        settings: One of `candidate_settings`, completed by `settings_of`.
        tolerance: rtol and atol of the adaptive or the fixed-point solver.
        num_steps: If given, so many fixed steps of `method` instead; or, of a fixed-point solver,
            at most so many iterations forwards and backwards.
        method: What takes these steps; other than "rk4" by ours alone, where a fixed-point solver
            makes the implicit layer a DEQ.
        threads: Number of threads (and cores) that it may use.
        label: What it is called in results, where several have the same name.
    """

    name: str
    settings: Mapping[str, Any]
    tolerance: float = 1e-3
    num_steps: int | None = None
    method: str = "rk4"
    threads: int = 1
    label: str = ""

    @property
    def key(self) -> str:
        return self.label or self.name

    @property
    def framework(self) -> str:
        return self.name.split("/")[0]

    @property
    def variant(self) -> str:
        return self.name.split("/")[1]

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that must be set before the framework is imported."""
        threads = str(self.threads)
        return {
            "OMP_NUM_THREADS": threads,
            "NPROC": threads,
            "TF_ENABLE_ONEDNN_OPTS": str(int(self.settings.get("onednn", True))),
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "KERAS_BACKEND": "tensorflow",
            # Peers that are timed in turn share a GPU.
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        }

    def replace(self, **changes: Any) -> "PeerSpec":
        return dataclasses.replace(self, **changes)


def candidate_settings(framework: str) -> tuple[dict[str, Any], ...]:
    """Settings among which a framework's best are chosen; the first are its defaults here."""
    return _CANDIDATES[framework]


def settings_of(name: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings chosen for a framework, with what belongs to one variant of it."""
    return {**chosen, **_OF_VARIANT.get(name, {})}


def expand(names: Iterable[str]) -> list[str]:
    """Turns frameworks into all of their variants, and checks what is given in full.

    Example: `expand(["torch", "ours/adjoint"])` is
    `["torch/backprop", "torch/adjoint", "ours/adjoint"]`.
    """
    result = []
    for name in names:
        framework, _, variant = name.partition("/")
        known = _VARIANTS.get(framework, ())
        if not known or (variant and variant not in known):
            allowed = [*FRAMEWORKS, *(f"{f}/{v}" for f in FRAMEWORKS for v in _VARIANTS[f])]
            raise ValueError(f"peers must be among {', '.join(allowed)}, got {name!r}.")
        result += [f"{framework}/{each}" for each in known if variant in ("", each)]
    return list(dict.fromkeys(result))


def require(packages: Iterable[str]) -> None:
    """Ends the program with one clear line where a package is missing."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise SystemExit(f"Not installed: {', '.join(missing)}. Run: {INSTALL}")


def packages(names: Iterable[str]) -> list[str]:
    """Returns the packages that the peers named need."""
    found = [package for name in names for package in _PACKAGES[name.split("/")[0]]]
    return list(dict.fromkeys(found))


def make(spec: PeerSpec, weights: Mapping[str, Any]):
    """Builds the peer in this process."""
    module = importlib.import_module(_MODULES[spec.framework])
    return module.Peer(spec, weights)
