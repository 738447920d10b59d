# SPDX-License-Identifier: Apache-2.0
"""Sound things to make malformed ones of, and how many of these: a few always, many on request.

pytest tests/malformed --hypothesis-profile=many

tries 1,000 inputs, 250 of each of the four kinds; `--hypothesis-seed=N` gives others.
"""

import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import filelock
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

from configs import digits
from homoode_tf import training

settings.register_profile("many", max_examples=250)

# The default recipe, cut down to seconds: a command line that is accepted by mistake soon ends.
SMALL = {
    "epochs": 2,
    "batch_size": 128,
    "keep_checkpoints": 4,
    "log_every_steps": 5,
    "checkpoint_every_steps": 5,
    **{"model.layer": "resnet", "model.num_steps": 1},
    **{"model.channels": 4, "model.head_channels": 4, "model.groups": 2},
}


def examples(few: int) -> Callable:
    """Decorates a test that tries `few` inputs, always the same, or 250 with the profile "many"."""
    many = settings.get_current_profile_name() == "many"
    return settings(
        max_examples=250 if many else few,
        derandomize=not many,
        # A case made smaller is not clearer, and each try may cost seconds.
        phases=("explicit", "generate"),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )


class Materials(NamedTuple):
    """What all cases share: the digits, a complete run of `SMALL`, a folder of sound images."""

    data_dir: pathlib.Path
    run: pathlib.Path
    images: pathlib.Path

    def flags(self, workdir: pathlib.Path, changes: Mapping[str, Any] | None = None) -> list[str]:
        """Flags of `train.py` for a run of `SMALL` with some fields changed."""
        fields = {**SMALL, **(changes or {})}.items()
        config = [f"--config.{name}={value}" for name, value in fields]
        return [f"--workdir={workdir}", f"--data_dir={self.data_dir}", *config]


@pytest.fixture(scope="session")
def materials(tmp_path_factory) -> Materials:
    base = tmp_path_factory.getbasetemp()
    # Made once for all of pytest-xdist's workers.
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "malformed"
    made = Materials(*(shared / name for name in Materials._fields))
    with filelock.FileLock(f"{shared}.lock"):
        if not shared.exists():
            config = digits.get_config()
            config.update_from_flattened_dict(SMALL)
            training.train(config, made.run, made.data_dir)
            _draw_images(made.images)
    return made


def _draw_images(folder: pathlib.Path) -> None:
    folder.mkdir()
    colours = Image.linear_gradient("L").resize((64, 48)).rotate(30)
    colours = Image.merge("RGB", [colours, colours.rotate(90), colours.rotate(180)])
    colours.convert("L").resize((8, 8)).save(folder / "digit.png")
    colours.save(folder / "colours.png")
    colours.quantize(16).save(folder / "palette.png")
    colours.save(folder / "photo.jpg")
    colours.save(folder / "progressive.jpg", progressive=True, quality=95)
    for suffix in ("webp", "bmp", "gif"):
        colours.save(folder / f"colours.{suffix}")
