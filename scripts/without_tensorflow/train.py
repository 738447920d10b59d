# SPDX-License-Identifier: Apache-2.0
"""Trains what `pack` packed; needs JAX and NumPy alone, no TensorFlow and nothing of this package.

    python scripts/without_tensorflow/train.py PACKED... [--images IMAGES.npz] [--seconds 500]

Runs that differ in their seed alone are compiled once, and all while those before them train. After
a run's last step, or when the time is over, its folder has trained.npz, the variables, and
metrics.json, a line an epoch; the same command again goes on from there.

Small models leave a GPU waiting: `--processes 8` trains so many runs at a time, each in a process
of its own. CUDA lets them compute side by side where its MPS was begun (`nvidia-cuda-mps-control
-d`), and else in turn. What one compiles the others read from $JAX_COMPILATION_CACHE_DIR.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import core, export, tree_util
from jax._src.interpreters import mlir
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo

_EVALUATED_EVERY = 5  # epochs
_STARTED = time.monotonic()


def say(*words: Any) -> None:
    """Prints a line with the seconds since the start."""
    print(f"{time.monotonic() - _STARTED:7.1f} s", *words, flush=True)


class Packed:
    """A packed run: its plan, its variables, and what its epochs measured.

    Args:
        folder: What `pack` wrote.

    Attributes:
        folder: The same.
        plan: The content of plan.json.
        variables: Name -> array, after the last step made.
        metrics: A mapping for each epoch made.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.plan = json.loads((folder / "plan.json").read_text())
        trained, metrics = folder / "trained.npz", folder / "metrics.json"
        with np.load(trained if trained.exists() else folder / "variables.npz") as file:
            self.variables = {name: file[name] for name in file.files}
        self.metrics = json.loads(metrics.read_text()) if metrics.exists() else []

    @property
    def but_seed(self) -> tuple[str, str]:
        """What it shares with the runs that differ from it in their seed alone."""
        plan = self.plan | {"seed": None}
        with mlir.make_ir_context():
            module = str(_parsed((self.folder / "step.mlirbc").read_bytes()))
        # Names count up within a process that packs.
        names: dict[str, str] = {}
        module = re.sub(r"@[\w.]+", lambda name: names.setdefault(name[0], str(len(names))), module)
        return module, json.dumps(plan, sort_keys=True)

    def save(self) -> None:
        """Writes the variables and the metrics."""
        np.savez(self.folder / "trained.npz", **self.variables)
        (self.folder / "metrics.json").write_text(json.dumps(self.metrics))

    def module(self, name: str, *inputs: jax.ShapeDtypeStruct) -> Callable[..., Any]:
        """Returns a module as a function of the variables and of its inputs.

        It returns the variables with the changes; or what the module returns beside them.
        """
        signature = self.plan[name]
        taken = [jnp.asarray(self.variables[name]) for name in signature["variables"]]
        results = [jax.ShapeDtypeStruct(tuple(s), dtype) for s, dtype in signature["results"]]
        content = (self.folder / f"{name}.mlirbc").read_bytes()
        call = exported(content, [*inputs, *taken], results).call

        def function(variables: Mapping[str, jax.Array], *values: jax.Array) -> Any:
            outputs = call(*values, *(variables[name] for name in signature["variables"]))
            if len(outputs) > len(signature["changed"]):
                return outputs[0]
            return variables | dict(zip(signature["changed"], outputs, strict=True))

        return function


def exported(content: bytes, inputs: list[Any], results: list[Any]) -> export.Exported:
    """Wraps a StableHLO module as what JAX itself would have exported.

    Args:
        content: The module's bytecode.
        inputs: What has the shapes and dtypes of its arguments.
        results: What has those of its results.

    Returns:
        Whose `call` can be compiled together with what is written in JAX.
    """
    taken = tuple(core.ShapedArray(value.shape, value.dtype) for value in inputs)
    returned = tuple(core.ShapedArray(value.shape, value.dtype) for value in results)
    with mlir.make_ir_context():
        version = stablehlo.get_minimum_version()
        content = stablehlo.serialize_portable_artifact(_parsed(content), version)
    known = {
        "fun_name": "main",
        "in_tree": tree_util.tree_structure((taken, {})),
        "in_avals": taken,
        "out_tree": tree_util.tree_structure(list(returned)),
        "out_avals": returned,
        "nr_devices": 1,
        "platforms": (jax.default_backend().replace("gpu", "cuda"),),
        "mlir_module_serialized": content,
        "calling_convention_version": export.maximum_supported_calling_convention_version,
        "module_kept_var_idx": tuple(range(len(taken))),
        "uses_global_constants": False,
        "_get_vjp": None,
    }
    # Of effects and checks there are none, and nothing is sharded; names change between versions.
    for field in dataclasses.fields(export.Exported):
        if field.name not in known:
            number = {"_in": len(taken), "in_": len(taken)}.get(field.name[:3], len(returned))
            known[field.name] = (None,) * number if "sharding" in field.name else ()
    return export.Exported(**known)


def _parsed(content: bytes) -> ir.Module:
    """Reads a module, in an MLIR context, as JAX wants it.

    Its name, which counts up, is the same for all, and the copies of what it returns are taken
    away, which TensorFlow writes in a dialect of XLA's own.
    """
    module = stablehlo.deserialize_portable_artifact(ir.Context.current, content)
    module.operation.attributes["sym_name"] = ir.StringAttr.get("step")
    copies = []

    def find(operation):
        if operation.name == "mhlo.copy":
            copies.append(operation)
        return ir.WalkResult.ADVANCE

    module.operation.walk(find)
    for copy in copies:
        copy.results[0].replace_all_uses_with(copy.operands[0])
        copy.erase()
    return module


def crop_and_flip(key: jax.Array, images: jax.Array, padding: int, flip: float) -> jax.Array:
    """Pads with zeros, crops each image at a place of its own and mirrors some."""
    count, height, width, _ = images.shape
    crop_key, flip_key = jax.random.split(key)
    padded = jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    offsets = jax.random.randint(crop_key, (count, 2), 0, 2 * padding + 1)
    flips = jax.random.uniform(flip_key, (count, 1)) < flip
    rows = offsets[:, :1] + jnp.arange(height)
    columns = jnp.arange(width)
    columns = offsets[:, 1:] + jnp.where(flips, columns[::-1], columns)
    return padded[jnp.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def cut_out(key: jax.Array, images: jax.Array, share: float) -> jax.Array:
    """Covers a square of each image, at a place of its own, with black."""
    count, *sides, _ = images.shape
    inside = []
    for one_key, length in zip(jax.random.split(key), sides, strict=True):
        covered = share**0.5 * length
        start = jax.random.uniform(one_key, (count, 1)) * (length - covered)
        place = jnp.arange(length)
        inside.append((place >= start) & (place < start + covered))
    rows, columns = inside
    return jnp.where((rows[:, :, None] & columns[:, None, :])[..., None], 0, images)


class Compiled:
    """An epoch and an evaluation, compiled for all runs that differ in their seed alone.

    Args:
        packed: One of them.
        images: uint8 array of all images, on the device.
        labels: int64 array of their labels.
    """

    def __init__(self, packed: Packed, images: jax.Array, labels: jax.Array):
        begun, plan, shape = time.monotonic(), packed.plan, images.shape[1:]
        self._plan, self._data = plan, (images, labels)
        self._train = jnp.asarray(plan["train"], jnp.int32)
        self._validation = jnp.asarray(plan["validation"], jnp.int32)
        size, some = plan["batch_size"], plan["evaluated_at_a_time"]
        self._step = packed.module(
            "step",
            jax.ShapeDtypeStruct((size, *shape), jnp.uint8),
            jax.ShapeDtypeStruct((size,), jnp.int64),
        )
        self._logits = packed.module("logits", jax.ShapeDtypeStruct((some, *shape), jnp.uint8))
        variables = {name: jnp.asarray(value) for name, value in packed.variables.items()}
        epoch = jax.jit(self._make, donate_argnums=0)
        some = jax.random.key(0), jnp.int32(1)
        self._made = epoch.lower(variables, *some, *self._data).compile()
        self._evaluated = jax.jit(self._evaluate).lower(variables, *self._data).compile()
        say(f"{packed.folder}: compiled in {time.monotonic() - begun:.1f} s")

    def epoch(self, variables: dict[str, Any], epoch: int, seed: int, steps: int) -> dict[str, Any]:
        """Returns the variables after an epoch, or its first steps; those given are gone."""
        key = jax.random.fold_in(jax.random.key(seed), epoch)
        return self._made(variables, key, jnp.int32(steps), *self._data)

    def accuracy(self, variables: dict[str, Any]) -> float:
        """Returns the accuracy on validation, with the averaged weights."""
        return float(self._evaluated(variables, *self._data))

    def _make(self, variables, key, num_steps, images, labels):
        plan, size = self._plan, self._plan["batch_size"]
        key, order_key = jax.random.split(key)
        order = jax.random.permutation(order_key, self._train)

        def step(number, variables):
            chosen = jax.lax.dynamic_slice_in_dim(order, number * size, size)
            keys = jax.random.split(jax.random.fold_in(key, number))
            batch = images[chosen]
            if plan["crop_padding"] or plan["flip_probability"]:
                batch = crop_and_flip(
                    keys[0], batch, plan["crop_padding"], plan["flip_probability"]
                )
            if plan["cutout"]:
                batch = cut_out(keys[1], batch, plan["cutout"])
            return self._step(variables, batch, labels[chosen])

        sums = {name: jnp.zeros_like(variables[name]) for name in plan["counts"]["sums"]}
        return jax.lax.fori_loop(0, num_steps, step, variables | sums)

    def _evaluate(self, variables, images, labels):
        plan, total = self._plan, self._validation.shape[0]
        variables = variables | {name: variables[mean] for name, mean in plan["averages"].items()}
        size = plan["evaluated_at_a_time"]
        parts = jnp.resize(self._validation, (-(-total // size), size))

        def of_part(chosen):
            found = jnp.argmax(self._logits(variables, images[chosen]), axis=-1)
            return found == labels[chosen]

        return jax.lax.map(of_part, parts).reshape(-1)[:total].mean()


def train(packed: Packed, compiled: Compiled, ends: float, most_epochs: int) -> None:
    """Makes the epochs that are left, or so many, until a moment of `time.monotonic`; saves."""
    plan, counter = packed.plan, packed.plan["counts"]["step"]
    total, per_epoch = plan["total_steps"], plan["steps_per_epoch"]
    variables = {name: jnp.asarray(value) for name, value in packed.variables.items()}
    begun, first = time.monotonic(), int(variables[counter])
    step, longest = first, 0.0
    for _ in range(most_epochs):
        if step >= total or time.monotonic() + 2 * longest > ends:
            break
        started, epoch = time.monotonic(), step // per_epoch
        variables = compiled.epoch(variables, epoch, plan["seed"], min(per_epoch, total - step))
        step = int(variables[counter])
        line = {"step": step, "epoch": epoch + 1, **_means(plan, variables)}
        line["seconds"] = time.monotonic() - started
        longest = max(longest, line["seconds"])
        if step == total or (epoch + 1) % _EVALUATED_EVERY == 0:
            line["validation_accuracy"] = compiled.accuracy(variables)
            say(packed.folder, *(f"{name} {value:.4g}" for name, value in line.items()))
        packed.metrics.append(line)
        if bad := int(variables["first_bad_step"]):
            say(f"{packed.folder}: step {bad} is not finite")
            break
    packed.variables = {name: np.asarray(value) for name, value in variables.items()}
    packed.save()
    seconds = time.monotonic() - begun
    rate = (step - first) / seconds
    say(f"{packed.folder}: {step} of {total} steps, {seconds:.1f} s, {rate:.1f} steps/s")


def _means(plan: Mapping[str, Any], variables: Mapping[str, jax.Array]) -> dict[str, float]:
    values = variables[plan["counts"]["sums"][-1]].tolist()
    sums = dict(zip(plan["metrics"], values, strict=True))
    means = {"loss": sums["loss"], "accuracy": sums["correct"]}
    return {name: value / sums["examples"] for name, value in means.items()} | {
        name: sums[name] / sums["steps"] for name in ("added_loss", "nfe_forward", "nfe_backward")
    }


def train_in_turn(options: argparse.Namespace) -> bool:
    """Trains the runs one after the other; returns whether none failed."""
    jax.config.update("jax_enable_x64", True)  # counters are int64
    say("JAX", jax.__version__, jax.devices())
    with np.load(options.images or options.packed[0] / "images.npz") as file:
        images, labels = jnp.asarray(file["images"]), jnp.asarray(file["labels"], jnp.int64)
    runs = [Packed(folder) for folder in options.packed]
    first = {run.but_seed: run for run in reversed(runs)}
    ends, failed = _STARTED + options.seconds, 0
    with concurrent.futures.ThreadPoolExecutor(len(first)) as pool:
        compiled = {
            key: pool.submit(Compiled, run, images, labels)
            for key, run in reversed(list(first.items()))
        }
        for run in runs:
            try:
                train(run, compiled[run.but_seed].result(), ends, options.most_epochs)
            except Exception as error:  # those after it are not to be lost with it
                failed += 1
                say(f"{run.folder} failed:", repr(error)[:2000])
    return not failed


def train_side_by_side(options: argparse.Namespace) -> bool:
    """Trains each run in a process of its own, some at a time; returns whether none failed."""
    images = options.images or options.packed[0] / "images.npz"

    def one(packed: pathlib.Path, environment: dict[str, str]) -> bool:
        left = options.seconds - (time.monotonic() - _STARTED)
        if left <= 0:
            return True
        command = [sys.executable, __file__, str(packed), "--images", str(images)]
        command += ["--seconds", str(left), "--most_epochs", str(options.most_epochs)]
        return subprocess.run(command, env=environment).returncode == 0

    with (
        tempfile.TemporaryDirectory() as cache,
        concurrent.futures.ThreadPoolExecutor(options.processes) as pool,
    ):
        # A process is not to take most of the GPU's memory for itself.
        shared = {"JAX_COMPILATION_CACHE_DIR": cache, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        return all(list(pool.map(lambda run: one(run, shared | os.environ), options.packed)))


def main() -> None:
    """Trains the packed runs that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packed", nargs="+", type=pathlib.Path)
    parser.add_argument("--images", type=pathlib.Path, help="default: those of the first run")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="for all of them")
    parser.add_argument("--most_epochs", type=int, default=10**6, help="of each, for a trial")
    parser.add_argument("--processes", type=int, default=1, help="runs at a time")
    options = parser.parse_args()
    ways = train_side_by_side if options.processes > 1 else train_in_turn
    sys.exit(not ways(options))


if __name__ == "__main__":
    main()
