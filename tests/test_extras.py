# SPDX-License-Identifier: Apache-2.0
import importlib

import pytest

from homoode_tf import extras


@pytest.mark.parametrize(
    ("module", "extra"), [("PIL.Image", "train"), ("tqdm", "train"), ("matplotlib", "plots")]
)
def test_what_is_missing_is_told_with_its_extra(module, extra):
    with pytest.raises(ImportError, match=rf"pip install 'homoode_tf\[{extra}\]'"):  # noqa: SIM117
        with extras.explaining():
            raise ModuleNotFoundError(name=module)


def test_other_modules_are_no_extras():
    with pytest.raises(ModuleNotFoundError, match="nonsense"), extras.explaining():
        importlib.import_module("nonsense")
