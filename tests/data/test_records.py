# SPDX-License-Identifier: Apache-2.0
import os
import pathlib

import numpy as np
import pytest

from homoode_tf.data import records

_IO = pathlib.Path("/proc/self/io")


@pytest.mark.skipif(not _IO.exists(), reason="counts the bytes that Linux says were read")
def test_the_last_record_does_not_cost_the_whole_file(tmp_path):
    rows = np.arange(4000, dtype=np.int64).repeat(250)  # 8 MB
    rows.tofile(tmp_path / "rows")
    found = records.of_array(os.fspath(tmp_path / "rows"), 0, 4000, 2000)

    def bytes_read():
        return int(_IO.read_text().split()[1])

    before = bytes_read()
    row = found.read(np.int64(3999)).numpy()
    assert bytes_read() - before < 1e6
    np.testing.assert_array_equal(np.frombuffer(row, np.int64), 3999)
