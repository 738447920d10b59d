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

each of which returns only when its work is done. A floor computes no function that could be
compared: it has no `gradients`, and its `forward` and `step` are told how many evaluations to make.
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
    "torch/tuned": "benchmarks.peers.torch_tuned",
    "torch/tuned_bfloat16": "benchmarks.peers.torch_tuned",
    "jax": "benchmarks.peers.jax_peer",
    "floor": "benchmarks.peers.floor",
    "served": "benchmarks.peers.served_peer",
}
_PACKAGES = {
    "ours": ("tensorflow", "tensorflow_probability"),
    "tfp": ("tensorflow", "tensorflow_probability"),
    "torch": ("torch", "torchdiffeq"),
    "jax": ("jax", "diffrax", "equinox"),
    "floor": ("tensorflow",),
    "served": ("tensorflow", "tensorflow_probability", "ai_edge_litert", "onnxruntime"),
}
_VARIANTS = {
    "ours": ("backprop", "checkpoint", "adjoint", "bfloat16"),
    "torch": ("backprop", "adjoint", "tuned", "tuned_bfloat16"),
    "jax": ("checkpoint", "backsolve"),
    "tfp": ("adjoint",),
    "floor": ("float32", "bfloat16"),
    "served": ("keras", "saved_model", "saved_model_bfloat16", "litert", "onnx"),
}
# Those that train; what is served is measured by `benchmarks.inference`.
FRAMEWORKS = tuple(name for name in _VARIANTS if name != "served")


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
_TUNED_SETTINGS = tuple(
    {"channels_last": True, "compile": mode, "compile_step": step, "recompute": recompute}
    for mode, step, recompute in (
        ("default", True, False),
        ("max-autotune-no-cudagraphs", True, False),
        ("default", True, True),
        ("max-autotune-no-cudagraphs", False, False),
        ("", False, False),  # all that runs without a C++ compiler
        ("", False, True),
    )
)
_FLOOR_SETTINGS = _product(onednn=(True, False))
# Settings among which `fastest` chooses by measuring; the first are used without it. What is chosen
# for a framework is chosen for those of its variants that do not stand here.
_CANDIDATES = {
    "ours": _TENSORFLOW_SETTINGS,
    "served": ({"onednn": True},),
    "ours/bfloat16": _TENSORFLOW_SETTINGS,
    "tfp": _TENSORFLOW_SETTINGS,
    "torch": _TORCH_SETTINGS,
    "torch/tuned": _TUNED_SETTINGS,
    "torch/tuned_bfloat16": _TUNED_SETTINGS,
    "jax": _JAX_SETTINGS,
    "floor": _FLOOR_SETTINGS,
    "floor/bfloat16": _FLOOR_SETTINGS,
}
_OF_VARIANT = {
    "ours/bfloat16": {"precision": "mixed_bfloat16", "gradient": "backprop"},
    "served/saved_model_bfloat16": {"precision": "mixed_bfloat16"},
    # The seminorm leaves the quadratures out of the adjoint's error norm (Kidger et al. 2021).
    "torch/adjoint": {"seminorm": True},
}
# These take one step, whatever the tolerance.
ONE_STEP = ("torch/tuned", "torch/tuned_bfloat16")
# A step of Dormand and Prince's method, forwards and backwards: the last slope has no derivative.
ONE_STEP_EVALUATIONS = (7, 6)


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
            makes the implicit layer a DEQ. Those in `ONE_STEP` have their own.
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
    def gradient(self) -> str:
        """How ours and TFP's differentiate: the variant's name, where nothing else is set."""
        return self.settings.get("gradient", self.variant)

    @property
    def precision(self) -> str:
        """What it multiplies in: "float32" or "bfloat16"."""
        policy = self.settings.get("precision", self.variant)
        return "bfloat16" if policy.endswith("bfloat16") else "float32"

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that must be set before the framework is imported."""
        threads = str(self.threads)
        # Threads that spin after their work would do so in the time of the peer that comes next.
        passive = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
        return {
            **(passive if self.name in ONE_STEP else {}),
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


def tuned_with(name: str) -> str:
    """Returns what a peer shares its settings with: its framework, or nothing but itself."""
    return name if name in _CANDIDATES else name.split("/")[0]


def candidate_settings(name: str) -> tuple[dict[str, Any], ...]:
    """Settings among which a peer's best are chosen; the first are its defaults here."""
    return _CANDIDATES[tuned_with(name)]


def settings_of(name: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings chosen for a framework, with what belongs to one variant of it."""
    return {**chosen, **_OF_VARIANT.get(name, {})}


def expand(names: Iterable[str]) -> list[str]:
    """Turns frameworks into all of their variants, and checks what is given in full.

    Example: `expand(["floor", "ours/adjoint"])` is
    `["floor/float32", "floor/bfloat16", "ours/adjoint"]`.
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
    module = importlib.import_module(_MODULES.get(spec.name) or _MODULES[spec.framework])
    return module.Peer(spec, weights)
