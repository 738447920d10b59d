# SPDX-License-Identifier: Apache-2.0
"""A flag with nothing in it, as of a variable that is not set, starts nothing."""

import importlib

import pytest
from absl import flags

from homoode_tf import empty_flags
from tests.malformed import commands

MODEL = ["--saved_model=nowhere"]
COMMANDS = {
    "homoode_tf.report.plot.command": ([], ["workdir", "data_dir", "output"]),
    "homoode_tf.serving.predict.command": (["x.png"], ["saved_model", "pretrained"]),
    "homoode_tf.serving.convert.command": (["--format=onnx", *MODEL], ["output"]),
    "homoode_tf.report.weights.command": ([], ["export", "data_dir"]),
    "homoode_tf.data.__main__": (["digits"], ["data_dir"]),
}


@pytest.mark.parametrize("given", ["", " "])
@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module in COMMANDS for name in COMMANDS[module][1]]
)
def test_of_argparse(module, name, given, capsys):
    needed = ["--workdir=nowhere"] if module.endswith("plot.command") and name != "workdir" else []
    arguments = [*COMMANDS[module][0], *needed, f"--{name}={given}"]
    with pytest.raises(SystemExit, match="2"):
        importlib.import_module(module).main(arguments)
    assert f"--{name}: it must not be empty: give" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments", [["--runs="], ["--runs", ""], ["--runs=a,,b"], ["--name="], ["--name= "]]
)
def test_of_absl(arguments):
    own = flags.FlagValues()
    flags.DEFINE_list("runs", None, "", own)
    flags.DEFINE_string("name", None, "", own)
    flags.DEFINE_integer("jobs", 0, "", flag_values=own)
    empty_flags.refuse(own)
    own(["x", "--runs=a,b", "--name=c", "--jobs=0"])
    with pytest.raises(flags.IllegalFlagValueError, match="must not be empty"):
        own(["x", *arguments])


@pytest.mark.parametrize(
    ("script", "name"),
    [("compare", n) for n in ("runs", "models", "workdir", "data_dir", "against", "config")]
    + [("train", n) for n in ("workdir", "data_dir", "init_from", "config")],
)
def test_training_does_not_begin(script, name, tmp_path):
    done = commands.run([f"homoode_tf/{script}.py", f"--{name}="])
    assert (done.status, done.output) == (2, "")
    assert f"--{name}=" in done.errors.splitlines()[-1]
