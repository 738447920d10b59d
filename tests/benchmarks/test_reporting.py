# SPDX-License-Identifier: Apache-2.0
"""The tables, and how peers are named."""

import json

import pytest

from benchmarks import peers, reporting


def test_markdown_table():
    table = reporting.markdown_table(
        ["peer", "step (s)", "F"], [["ours", 0.25, "13 + 12"], ["theirs", None, "20 + 20"]]
    )
    assert table.splitlines() == [
        "| peer   | step (s) | F       |",
        "| ------ | -------: | ------- |",
        "| ours   |     0.25 | 13 + 12 |",
        "| theirs |        – | 20 + 20 |",  # noqa: RUF001
    ]


def test_results_are_written(tmp_path, capsys):
    reporting.write(tmp_path / "new", "name", {"value": 1.5}, "the text")
    assert json.loads((tmp_path / "new" / "name.json").read_text()) == {"value": 1.5}
    assert (tmp_path / "new" / "name.md").read_text() == "the text\n"
    assert capsys.readouterr().out.startswith("the text\n")


def test_frameworks_expand_to_their_variants():
    assert peers.expand(["floor", "ours/adjoint", "floor/bfloat16"]) == [
        "floor/float32",
        "floor/bfloat16",
        "ours/adjoint",
    ]


@pytest.mark.parametrize("name", ["theano", "torch/nothing", ""])
def test_unknown_peers_are_refused(name):
    with pytest.raises(ValueError, match="peers must be among ours, torch, jax, tfp, floor"):
        peers.expand([name])


@pytest.mark.parametrize("framework", peers.FRAMEWORKS)
def test_every_framework_has_settings(framework):
    assert peers.candidate_settings(framework)


def test_settings_of_a_variant_complete_those_of_its_framework():
    assert peers.settings_of("torch/backprop", {"compile": True}) == {"compile": True}
    assert peers.settings_of("torch/adjoint", {"compile": True})["seminorm"]


def test_variants_that_are_tuned_by_themselves():
    assert peers.tuned_with("torch/adjoint") == "torch"
    assert peers.tuned_with("torch/tuned") == "torch/tuned"
    assert peers.candidate_settings("torch/tuned")[0]["compile"] == "default"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("fpu avx512_bf16 amx_bf16 amx_tile", "AMX_BF16 and AVX512_BF16"),
        ("avx512f avx512_bf16", "AVX512_BF16"),
        ("avx512f", "neither AMX_BF16 nor AVX512_BF16"),
    ],
)
def test_what_multiplies_in_bfloat16(flags, words):
    assert reporting.bfloat16_instructions(flags) == words
    assert reporting.machine()["bfloat16"]


def test_missing_packages_end_in_one_line():
    with pytest.raises(SystemExit, match="Not installed: no_such_package. Run: pip install -e"):
        peers.require(["json", "no_such_package"])
