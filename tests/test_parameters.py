"""Declared parameters: what is read from the cell, and what is refused."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.press
pytest.importorskip("myst_nb", reason="needs the press")

from bookpress.parameters import (  # noqa: E402
    ParameterError,
    assigned,
    check,
    declared,
    describe,
    is_declaration,
)

CELL = """\
dataset: str = "simulated"  # which recording {simulated, guan2018}
seed: int = 0  # seed of everything random, >= 0
lr: float = 1e-3  # learning rate (0 is no learning) [0, 1]
verbose: bool = False  # print more
"""


@pytest.fixture
def parameters():
    return declared(CELL)


def test_reads_type_default_range_choices_and_meaning(parameters):
    dataset, seed, lr, verbose = parameters
    assert (dataset.choices, dataset.default) == (("simulated", "guan2018"), "simulated")
    assert (seed.type, seed.low, seed.choices) == (int, None, ())
    assert (lr.low, lr.high, lr.default) == (0.0, 1.0, 1e-3)
    assert verbose.meaning == "print more"


def test_a_meaning_goes_on_in_the_comment_below():
    cell = 'x: str = "a"  # of two {a,\n#                b}\ny: int = 1  # a count [0, 9]\n'
    x, y = declared(cell)
    assert (x.choices, x.meaning) == (("a", "b"), "of two {a, b}")
    assert (y.low, y.high, y.meaning) == (0, 9, "a count [0, 9]")


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"no_such": 1}, "unknown parameter 'no_such'"),
        ({"seed": "three"}, "seed must be int, got 'three'"),
        ({"seed": 1.5}, "seed must be int, got 1.5"),
        ({"seed": True}, "seed must be int, got True"),
        ({"lr": 2.0}, "lr must lie in [0, 1], got 2.0"),
        ({"lr": float("nan")}, "lr must lie in [0, 1], got nan"),
        ({"dataset": "guan"}, "dataset must be one of simulated, guan2018, got 'guan'"),
        ({"verbose": 1}, "verbose must be bool, got 1"),
    ],
)
def test_faults_are_named_with_the_table_of_valid_parameters(parameters, given, fault):
    with pytest.raises(ParameterError) as error:
        check(given, parameters, "05")
    assert fault in str(error.value)
    assert all(p.name in str(error.value) and p.meaning in str(error.value) for p in parameters)


def test_all_faults_are_named_at_once(parameters):
    with pytest.raises(ParameterError, match="no_such.*; seed must be int"):
        check({"no_such": 1, "seed": None}, parameters, "05")


def test_valid_values_pass(parameters):
    check({"dataset": "guan2018", "seed": 3, "lr": 1, "verbose": True}, parameters, "05")


@pytest.mark.parametrize(
    "cell",
    [
        "seed = 0  # no annotation",
        "seed: int = 0",
        "seed: complex = 0  # unknown type",
        "seed: int = 3  # outside its own range [0, 1]",
        "import os",
    ],
)
def test_bad_declarations_are_refused(cell):
    with pytest.raises(ParameterError):
        declared(cell)


def test_command_line_text_becomes_the_declared_type(parameters):
    dataset, seed, lr, verbose = parameters
    assert dataset.parse("1") == "1"
    assert seed.parse("3") == 3
    assert lr.parse("1e-4") == 1e-4
    assert lr.parse("1") == 1.0
    assert verbose.parse("true") is True
    assert seed.fault(seed.parse("many"))


def test_papermills_injection_is_read_and_code_is_not_a_declaration():
    assert assigned("# Parameters\nseed = 3\nname = 'a'\n") == {"seed": 3, "name": "a"}
    assert is_declaration(CELL)
    assert not is_declaration("import numpy as np\nseed: int = 0")
    assert not is_declaration("seed = 0")
    assert not is_declaration("%matplotlib inline")


def test_the_table_has_a_line_for_each_parameter(parameters):
    assert len(describe(parameters).splitlines()) == 1 + len(parameters)
