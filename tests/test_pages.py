# SPDX-License-Identifier: Apache-2.0
"""Every page runs from its top to its bottom, its Python and its commands, on a short setting.

A command goes through its own parser, and its recipe with all changes through the checks of a run.
Then the following stands in for what takes minutes: one small run of the digits, trained in
earnest, is what each training leaves; of benchmarks, scripts and examples only the flags are read
(the first and the last are run by tests of their own). What is asked of a run is done in earnest.
"""

import argparse
import ast
import importlib
import importlib.util
import json
import pathlib
import re
import shlex
import shutil
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import homoode_tf.data.__main__
from configs import digits
from homoode_tf import command_line, data, models, training
from homoode_tf.layers import DenseDynamics, HomoODE
from homoode_tf.report.compare import curves, experiment, member_processes
from homoode_tf.report.plot import run_report
from homoode_tf.training.files.workdir import Workdir, digest, plain
from homoode_tf.training.settings import TrainingSettings
from tests import slow

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
# What they show is tested elsewhere, too.
SLOW = {"runs.md", "serving.md", "weights.md"}
PROGRAMS = [
    *(ROOT / "homoode_tf" / name for name in ("train.py", "report/compare/command.py")),
    *(path for name in ("configs", "benchmarks", "scripts") for path in (ROOT / name).glob("*.py")),
]
OUT_OF_REACH = {
    "curl": "asks TensorFlow Serving, which is not at hand; test_export.py has the same request",
    "tensorboard": "a server that does not end",
}
# The commands of a page: in blocks, indented, or within a sentence if they have an argument.
COMMAND = r"(?:\.venv/bin/)?(?:python|pip|make|pytest|curl|tensorboard|homoode-\w+) [^`\n][^`]*?"
PARTS = re.compile(
    rf"^```(\w*)\n(.*?)^```|^ {{4}}({COMMAND})$|`({COMMAND})`", re.DOTALL | re.MULTILINE
)
MODEL = {"channels": 4, "head_channels": 6, "groups": 2, "solver": "rk4", "num_steps": 1}
SHORT = {
    "README.md": {"[:1437]": "[:64]", "[1437:]": "[-8:]"},
    "runs.md": {
        "num_steps=400": "num_steps=2",
        '10, "steps_per_epoch": 40': '2, "steps_per_epoch": 1',
        "build({}": f"build({MODEL}",
    },
}
SMALL = {
    "epochs": 0.2,
    "batch_size": 64,
    **{f"model.{name}": value for name, value in MODEL.items()},
}


class Parsed(Exception):  # noqa: N818
    """The flags were read, and that is all that was asked."""


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """The run that stands for every other."""
    config, workdir = digits.get_config(), tmp_path_factory.mktemp("run")
    config.update_from_flattened_dict(SMALL)
    training.train(config, workdir, tmp_path_factory.mktemp("data"))
    return workdir


@pytest.fixture
def place(small_run, tmp_path, monkeypatch):
    """A folder with what the pages ask for, in which commands do what is said above."""

    def train(config, workdir, data_dir, strategy, **options):
        settings = TrainingSettings.from_config(config)
        if str(settings.dataset).startswith(("folder:", "npz:")):
            fields = {name: config[name] for name in data.FIELDS}
            assert data.load(settings.dataset, data_dir=data_dir, **fields).info.num_train
        start = settings.init_from
        assert start in ("", *models.pretrained_names()) or Workdir(start).read_result()
        shutil.copytree(small_run, workdir, dirs_exist_ok=True)

    def train_members(members, *_):
        for member in members[:2]:
            member.workdir.mkdir(parents=True)
            shutil.copy(small_run / "metrics.jsonl", member.workdir)
            folder = Workdir(member.workdir)
            folder.config.write_text(json.dumps(plain(member.config)))
            folder.write_result(Workdir(small_run).read_result(), digest(member.config))
            yield member, member.outcome()

    def again(config, workdir, *_, **options):
        assert TrainingSettings.from_config(config) and Workdir(workdir).read_result()

    def draw(workdir, *_):
        return run_report.Report(pathlib.Path(Workdir(workdir).directory))

    for name, stand_in in (("train", train), ("evaluate", again), ("export", again)):
        monkeypatch.setattr(training, name, stand_in)
    monkeypatch.setattr(member_processes, "train", train_members)
    monkeypatch.setattr(experiment, "_count", lambda *_: (1, 1))
    monkeypatch.setattr(curves, "draw", lambda *_: None)
    monkeypatch.setattr(run_report, "draw", draw)
    monkeypatch.setattr(homoode_tf.data.__main__, "_prepare", lambda *_: True)
    monkeypatch.setattr(command_line.app, "run", _run)
    monkeypatch.chdir(tmp_path)
    for name in ("digits", "mnist", "a", "b"):
        shutil.copytree(small_run, tmp_path / "runs" / name)
    files = [f"pictures/{label}/{number}.png" for label in "ab" for number in range(9)]
    for name in ("image.png", "new.png", "folder/1.png", *files):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        Image.new("L", (20, 30)).save(tmp_path / name)
    return tmp_path


def _run(main, flags_parser):
    """As `absl.app.run`, which would set up this whole process."""
    flags_parser(sys.argv)
    main([])


def python(arguments, monkeypatch):
    """Does what `python ARGUMENTS` does."""
    name = arguments[1] if arguments[0] == "-m" else arguments[0].removesuffix(".py")
    flags = arguments[2 if arguments[0] == "-m" else 1 :]
    name = name.replace("/", ".")
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *flags])
    if name == "pytest":
        assert all((ROOT / path).exists() for path in flags if not path.startswith("-"))
    elif name == "homoode_tf":
        importlib.import_module("homoode_tf.__main__")
    elif name in ("train", "homoode_tf.train"):
        status(fresh("homoode_tf.train").start)
    elif name == "homoode_tf.compare":
        status(fresh("homoode_tf.report.compare.command").start)
    elif name.startswith("homoode_tf.") and not flags:
        assert importlib.util.find_spec(name)  # its name in a sentence
    elif name in (f"homoode_tf.{command}" for command in ("predict", "convert", "plot", "weights")):
        floor = "serving" if name.endswith(("predict", "convert")) else "report"
        command = importlib.import_module(f"homoode_tf.{floor}.{name.rpartition('.')[2]}.command")
        assert command.main(flags) == 0
    elif name == "homoode_tf.data":
        assert homoode_tf.data.__main__.main(flags) == 0
    else:
        module = importlib.import_module(name)
        if hasattr(module, "__path__"):
            module = importlib.import_module(f"{name}.__main__")
        if not hasattr(module, "main"):
            return
        parse = argparse.ArgumentParser.parse_args

        def stop(parser, given=None):
            raise Parsed(parse(parser, given))

        monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
        with pytest.raises(Parsed):
            module.main()
        monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)


def fresh(name):
    """A module of its own, whose flags no other command has read."""
    spec = importlib.util.find_spec(name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def status(start):
    try:
        start()
    except SystemExit as end:
        assert not end.code


def run(line, monkeypatch):
    """Does what a shell does with a line."""
    program, *arguments = shlex.split(line, comments=True)
    arguments = arguments[: arguments.index(">")] if ">" in arguments else arguments
    program = program.removeprefix(".venv/bin/")
    if program == "python":
        python(arguments, monkeypatch)
    elif program == "pytest":
        python(["-m", "pytest", *arguments], monkeypatch)
    elif program.startswith("homoode-"):
        python(["-m", f"homoode_tf.{program.removeprefix('homoode-')}", *arguments], monkeypatch)
    elif program == "make":
        targets = re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
        assert {*arguments} <= {*targets}
    elif program == "pip":
        assert arguments[0] == "install"
        known = re.findall(r"^(\w+) =$", (ROOT / "setup.cfg").read_text("utf-8"), re.MULTILINE)
        assert {name for e in re.findall(r"\[(.*)\]", line) for name in e.split(",")} <= {*known}
    else:
        assert program in OUT_OF_REACH, line


def names_for(page):
    """What a page takes for given."""
    if page == "runs.md":
        return {"images": np.zeros((2, 8, 8, 1), np.uint8)}
    if page == "serving.md":
        layers = [keras.Input((4,)), HomoODE(DenseDynamics(4), solver="rk4", num_steps=1)]
        return {"model": keras.Sequential(layers)}
    if page == "own_data.md":
        shutil.rmtree("pictures")
        train = data.load("digits", data_dir="data").evaluation_batches("test", 50).unbatch()
        names = [f"flower {number}" for number in range(10)]
        given = {"config": digits.get_config(), "homoode_tf": homoode_tf}
        return given | {"train": train, "test": train, "names": names}
    return {}


@pytest.mark.parametrize(
    "page",
    [slow(page) if page.name in SLOW else page for page in PAGES],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_a_page_runs(page, place, monkeypatch):
    text, names = page.read_text("utf-8"), names_for(page.name)
    for old, new in SHORT.get(page.name, {}).items():
        assert old in text
        text = text.replace(old, new)
    for language, block, *commands in PARTS.findall(text):
        if language == "python":
            exec(compile(block, str(page), "exec"), names)
        lines = (
            block.replace("\\\n", " ").splitlines() if language == "sh" else filter(None, commands)
        )
        for line in lines:
            run(" ".join(line.split()), monkeypatch)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_commands_of_a_docstring_run(path, place, monkeypatch):
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    for line in re.findall(rf"^ *({COMMAND})(?:  .*)?$|`({COMMAND})`", text, re.MULTILINE):
        run(re.sub(r"\[.*?\]", "", "".join(line)), monkeypatch)
