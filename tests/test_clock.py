"""Long cells of a live notebook count their seconds; short ones say nothing."""

from __future__ import annotations

import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

nbclient = pytest.importorskip("nbclient", reason="needs the press")
pytestmark = pytest.mark.press

BEGIN = """
import time

from bookpress import clock

clock.CellClock.__init__.__defaults__ = (0.5, 0.2)
clock.install()
clock.install()
"""
LONG = "time.sleep(2.0)\nprint('done')"


def executed(tmp_path, cells):
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbclient.NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}).execute()
    nbformat.validate(notebook)
    return [cell.outputs for cell in notebook.cells]


def lines(outputs):
    return [out.data["text/html"] for out in outputs if out.output_type == "display_data"]


def test_a_long_cell_says_how_long_it_took_and_a_short_one_nothing(tmp_path, monkeypatch):
    monkeypatch.delenv("BOOKPRESS_RUN", raising=False)
    outputs = executed(tmp_path, [BEGIN, LONG, "1 + 1", LONG, "time.sleep(0.1)"])
    for long in (outputs[1], outputs[3]):
        (line,) = lines(long)  # one, though installed twice
        seconds = int(re.fullmatch(r"<small>took (\d+) s</small>", line)[1])
        assert seconds >= 2
        assert any(out.get("text") == "done\n" for out in long)
    assert not lines(outputs[2])
    assert not lines(outputs[4])


def test_runs_of_the_press_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("BOOKPRESS_RUN", "default")
    outputs = executed(tmp_path, [BEGIN, LONG])
    assert not lines(outputs[1])
