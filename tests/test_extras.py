# SPDX-License-Identifier: Apache-2.0
import ast
import importlib
import pathlib

import pytest

from homoode_tf import data, extras


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("PIL.Image", "train"),
        ("tqdm", "train"),
        ("matplotlib", "plots"),
        ("imagecorruptions", "study"),
    ],
)
def test_what_is_missing_is_told_with_its_extra(module, extra):
    with pytest.raises(ImportError, match=rf"pip install 'homoode_tf\[{extra}\]'"):  # noqa: SIM117
        with extras.explaining():
            raise ModuleNotFoundError(name=module)


def test_other_modules_are_no_extras():
    with pytest.raises(ModuleNotFoundError, match="nonsense"), extras.explaining():
        importlib.import_module("nonsense")


def test_the_data_command_starts_without_any_extra():
    """Its package is imported before it can say a word; these two build data sets of TFDS."""
    for path in pathlib.Path(data.__file__).parent.glob("*.py"):
        for node in (
            [] if path.stem in ("digits", "tiny_imagenet") else ast.parse(path.read_text()).body
        ):
            imported = {ast.Import: "names", ast.ImportFrom: "module"}.get(type(node), "")
            names = getattr(node, imported, None) or []
            names = [names] if isinstance(names, str) else [alias.name for alias in names]
            assert not {name.partition(".")[0] for name in names} & {*extras._EXTRAS}, path
