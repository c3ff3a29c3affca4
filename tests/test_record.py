"""Claims: what they refuse, how they are shown, glued and kept."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytestmark = pytest.mark.press
record = pytest.importorskip("bookpress.record", reason="needs the press")


@pytest.fixture
def facts():
    return dict(
        name="accuracy",
        value=0.8,
        unit="",
        low=0.7,
        high=0.9,
        chance=0.5,
        ceiling=1.0,
        n=20,
        held_out="last trials of each session",
    )


@pytest.fixture
def run(tmp_path):
    return record.Run("05_x", "default", {"seed": 0}, tmp_path / "05_x" / "default.json", {})


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"name": "Two words"}, "lower case with underscores"),
        ({"value": float("nan")}, "value must be a finite number"),
        ({"high": float("inf")}, "high must be a finite number"),
        ({"low": 0.95}, "lies above high"),
        ({"ceiling": None}, "has no ceiling"),
        ({"held_out": ""}, "held_out"),
        ({"n": 0}, "how many units"),
    ],
)
def test_a_number_may_not_stand_alone(facts, change, fault):
    with pytest.raises(ValueError, match=fault):
        record.Claim(**(facts | change))


def test_no_ceiling_is_allowed_with_a_reason(facts):
    claim = record.Claim(**(facts | {"ceiling": None, "note": "no ceiling is known"}))
    assert "no ceiling is known" in claim._repr_html_()


def test_what_is_shown_holds_every_part_and_escapes_markup(facts):
    shown = record.Claim(**(facts | {"held_out": "<trials> & more"}))._repr_html_()
    for part in ("accuracy", "0.8", "[0.7, 0.9]", "0.5", "ceiling 1", "n = 20"):
        assert part in shown
    assert "&lt;trials&gt; &amp; more" in shown


def test_record_writes_the_claim_and_its_provenance(run, facts, capsys):
    run.record(record.Claim(**(facts | {"value": np.float32(0.75)})))
    run.quote(n_trials=np.int64(498), rate=np.float64(0.1))
    kept = json.loads(run.path.read_text())
    assert kept["claims"][0]["value"] == 0.75
    assert kept["quotes"] == {"n_trials": 498, "rate": 0.1}
    assert kept["parameters"] == {"seed": 0}
    assert kept["provenance"]["duration_s"] >= 0
    assert [p.name for p in run.path.parent.iterdir()] == ["default.json"]


def test_one_name_one_number(run, facts, capsys):
    run.record(record.Claim(**facts))
    with pytest.raises(ValueError, match="recorded already"):
        run.record(record.Claim(**facts))


def test_glued_numbers_are_plain_floats(run, facts, monkeypatch, capsys):
    glued = {}
    monkeypatch.setattr(record, "glue", lambda name, value, display: glued.update({name: value}))
    run.record(record.Claim(**(facts | {"value": np.float64(0.8)})))
    assert set(glued) == {
        "accuracy",
        *(f"accuracy_{k}" for k in ("low", "high", "chance", "ceiling")),
    }
    assert {type(v) for v in glued.values()} == {float}


def test_runs_are_named_by_their_parameters():
    name = record.run_name({"seed": 0, "n": 5})
    assert name.startswith("p-")
    assert name == record.run_name({"n": 5, "seed": 0})
    assert name != record.run_name({"seed": 1, "n": 5})
