# SPDX-License-Identifier: Apache-2.0
import pytest

from homoode_tf.serving import saved_model


def test_of_several_versions_the_newest_is_found(tmp_path):
    assert saved_model.find(tmp_path) == tmp_path  # whose lack of files its reading tells
    for name in ("9", "10", "011x", "assets"):
        (tmp_path / name).mkdir()
    (tmp_path / "99").write_text("no folder")
    assert saved_model.find(tmp_path) == tmp_path / "10"
    # As earlier versions of this project have written it.
    (tmp_path / "saved_model.pb").write_text("a model")
    assert saved_model.find(str(tmp_path)) == tmp_path
    with pytest.raises(saved_model.ModelError, match="nowhere: no such folder"):
        saved_model.find(tmp_path / "nowhere")
