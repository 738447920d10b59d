# SPDX-License-Identifier: Apache-2.0
"""Sound things to make malformed ones of: data, a small run, its exported model, images."""

import json
import pathlib
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from PIL import Image

from scripts.malformed_inputs.processes import ROOT

# The default recipe, cut down to seconds: a command line that is accepted by mistake soon ends.
SMALL = {
    "epochs": 4,
    "batch_size": 128,
    "keep_checkpoints": 4,
    "log_every_steps": 5,
    "checkpoint_every_steps": 5,
    "model.layer": "resnet",
    "model.num_steps": 1,
    "model.channels": 4,
    "model.head_channels": 4,
    "model.groups": 2,
}


class Materials:
    """What all cases share, made in a folder where it is not there yet.

    Args:
        folder: The folder; cases get folders of their own beneath it.

    Attributes:
        data_dir: The digits.
        run: A complete run of `SMALL`.
        images: A folder of sound PNG and JPEG files.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder = folder.resolve()
        self.data_dir = self._folder / "data"
        self.run = self._folder / "run"
        self.images = self._folder / "images"
        self._cases = 0
        if not (self.run / "result.json").exists():
            subprocess.run(
                [sys.executable, "train.py", *self.flags(self.run)],
                cwd=ROOT,
                check=True,
                stdout=subprocess.DEVNULL,
            )
        self.images.mkdir(exist_ok=True)
        _draw_images(self.images)

    @property
    def saved_model(self) -> pathlib.Path:
        """The exported model: gray images of 8 x 8, ten classes."""
        return self.run / "saved_model"

    def flags(self, workdir: pathlib.Path, changes: Mapping[str, Any] | None = None) -> list[str]:
        """Flags of `train.py` for a run of `SMALL` with some fields changed."""
        fields = [
            f"--config.{name}={value}" for name, value in {**SMALL, **(changes or {})}.items()
        ]
        return [f"--workdir={workdir}", f"--data_dir={self.data_dir}", *fields]

    def new_folder(self) -> pathlib.Path:
        """Makes an empty folder for a case."""
        folder = self._folder / "cases" / f"{self._cases:05d}"
        self._cases += 1
        folder.mkdir(parents=True)
        return folder


def best_checkpoint(checkpoints: pathlib.Path) -> pathlib.Path:
    """Returns the checkpoint that is best on validation, of equals the last."""
    evaluated = []
    for path in sorted(checkpoints.iterdir()):
        accuracy = json.loads((path / "manifest.json").read_text())["validation_accuracy"]
        if accuracy is not None:
            evaluated.append((accuracy, path))
    return max(evaluated)[1]


def _draw_images(folder: pathlib.Path) -> None:
    colours = Image.linear_gradient("L").resize((64, 48)).rotate(30)
    colours = Image.merge("RGB", [colours, colours.rotate(90), colours.rotate(180)])
    colours.convert("L").resize((8, 8)).save(folder / "digit.png")
    colours.save(folder / "colours.png")
    colours.quantize(16).save(folder / "palette.png")
    colours.save(folder / "photo.jpg")
    colours.save(folder / "progressive.jpg", progressive=True, quality=95)
