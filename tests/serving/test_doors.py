# SPDX-License-Identifier: Apache-2.0
"""Where the names of serving are found, the old places included."""

import importlib
import sys

import pytest

from homoode_tf import serving


def test_the_room_gives_its_public_names():
    assert all(hasattr(serving, name) for name in serving.__all__)
    assert serving.save is importlib.import_module("homoode_tf.serving.export").save
    with pytest.raises(AttributeError, match="has no attribute 'load'"):
        _ = serving.load


@pytest.mark.parametrize("name", ["predict", "convert"])
def test_the_short_names_give_the_same(name):
    room = importlib.import_module(f"homoode_tf.serving.{name}")
    door = importlib.import_module(f"homoode_tf.{name}")
    assert all(getattr(door, public) is getattr(room, public) for public in room.__all__)


@pytest.mark.parametrize(("name", "function"), [("export", "save"), ("checksums", "check")])
def test_the_old_places_still_work_and_say_where_to_go(name, function):
    sys.modules.pop(f"homoode_tf.{name}", None)
    with pytest.warns(DeprecationWarning, match=rf"import homoode_tf\.serving\.{name}"):
        old = importlib.import_module(f"homoode_tf.{name}")
    new = importlib.import_module(f"homoode_tf.serving.{name}")
    assert getattr(old, function) is getattr(new, function)
