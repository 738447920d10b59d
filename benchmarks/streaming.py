# SPDX-License-Identifier: Apache-2.0
"""Does the memory of a data set that streams grow with its size?

    python -m benchmarks.streaming [--images 2000 20000] [--size 224] [--batches 100]

Folders of made JPEGs are trained from as `folder:PATH` with `config.cache_megabytes=0`: batches are
drawn, shuffled, cropped and mirrored, each folder in a process of its own. What is measured is the
resident memory while they are drawn, at its highest and at the end, less what the process had when
TensorFlow was imported; and, at the last, the images a second.
"""

import argparse
import concurrent.futures
import multiprocessing
import pathlib
import sys
import tempfile
import time

import numpy as np
from PIL import Image

from benchmarks import process_memory, reporting

_CLASSES = 4
_FIRST = 10  # batches that fill the queues


def write_images(folder: pathlib.Path, number: int, size: int) -> None:
    """Writes so many square JPEGs, smooth ones with some noise, into four classes."""
    random = np.random.default_rng(0)
    for k in range(number):
        path = folder / f"class {k % _CLASSES}" / f"{k:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8))
        noise = random.integers(-8, 9, (size, size, 3))
        pixels = np.asarray(coarse.resize((size, size), Image.BICUBIC)) + noise
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=85)


def measure(folder: str, batches: int, batch_size: int) -> dict[str, float]:
    """Opens a folder and draws batches; to be called in a process of its own."""
    from homoode_tf import data

    before = process_memory.resident_mib()
    start = time.perf_counter()
    images = data.load(f"folder:{folder}", cache_megabytes=0)
    opened = time.perf_counter() - start
    augmentation = data.Augmentation(crop_padding=4, flip_probability=0.5)
    drawn = images.train_batches(
        batch_size, seed=0, num_steps=_FIRST + batches, augmentation=augmentation
    )
    process_memory.reset_peak()
    for step, _ in enumerate(drawn, start=1):
        if step == _FIRST:
            start = time.perf_counter()
    return {
        "opened": opened,
        "peak": process_memory.peak_mib() - before,
        "end": process_memory.resident_mib() - before,
        "speed": batches * batch_size / (time.perf_counter() - start),
    }


def report(results: dict) -> str:
    """Returns the report as Markdown."""
    machine, size = results["machine"], results["size"]
    rows = [
        [number, number * size**2 * 3 / 2**20, row["opened"], row["peak"], row["end"], row["speed"]]
        for number, row in zip(results["images"], results["rows"], strict=True)
    ]
    header = [
        *("images", "their pixels (MiB)", "opened and checked (s)"),
        *("highest (MiB)", "at the end (MiB)", "images/s"),
    ]
    return (
        f"`{machine['command']}` on {machine['processor']}, {machine['cores']} core(s): "
        f"{results['batches']} batches of {results['batch_size']} JPEGs of {size}x{size} pixels."
        f"\n\n{reporting.markdown_table(header, rows)}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming")
    parser.add_argument("--images", type=int, nargs="+", default=[2000, 20000])
    parser.add_argument("--size", type=int, default=224, help="pixels")
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/benchmarks"))
    arguments = parser.parse_args()
    rows = []
    for number in arguments.images:
        with tempfile.TemporaryDirectory() as name:
            write_images(pathlib.Path(name), number, arguments.size)
            context = multiprocessing.get_context("spawn")
            with concurrent.futures.ProcessPoolExecutor(1, context) as process:
                given = (name, arguments.batches, arguments.batch_size)
                rows.append(process.submit(measure, *given).result())
    results = {"machine": reporting.machine(), **vars(arguments), "rows": rows}
    results.pop("output")
    reporting.write(arguments.output, "streaming", results, report(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
