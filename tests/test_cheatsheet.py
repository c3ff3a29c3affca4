"""The cheat sheet is carried out, from its first card to its last."""

from __future__ import annotations

import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

pytestmark = [pytest.mark.press, pytest.mark.long]
pytest.importorskip("typer", reason="needs the press")

from bookpress import cli  # noqa: E402
from bookpress.record import Run  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
CARD = re.compile(r"^::::\{grid-item-card\} (.+?)\n```(\w+)\n(.*?)^```\n::::", re.M | re.DOTALL)
CARDS = {
    title: (language, code)
    for title, language, code in CARD.findall((ROOT / "book" / "cheatsheet.md").read_text())
}
WIDEST = 58  # characters: more would be cut off on paper


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """Every name of the snippets, after all of them."""
    known: dict[str, object] = {}
    folder = tmp_path_factory.mktemp("cheatsheet")

    def begin(chapter: str) -> Run:  # without a notebook there are no parameters to check
        return Run(chapter, "default", {}, folder / f"{chapter}.json", {})

    with pytest.MonkeyPatch.context() as patch, plt.rc_context():
        patch.setattr("bookpress.begin", begin)
        for title, (language, code) in CARDS.items():
            if language == "python":
                exec(compile(code, title, "exec"), known)
        yield known
    plt.close("all")


def test_it_has_the_cards_that_are_looked_for():
    wanted = {"Load", "Split", "Decode", "Intervals", "Ceilings", "Encode", "Connectivity"}
    assert wanted | {"Figures", "Claims", "The press"} <= set(CARDS)


def test_what_the_snippets_make_is_what_they_say(names):
    recording = names["recording"]
    assert recording.responses.dims == ("trial", "time", "neuron")
    assert names["correct"].shape == (recording.n_trials,)
    assert set(np.unique(names["folds"])) == set(range(5))
    accuracy = names["accuracy"]
    assert accuracy.low <= accuracy.value <= accuracy.high
    assert names["repeats"].shape == (len(names["shown"]), 2, names["v1"].n_neurons)
    assert names["inferred"].shape == (1, len(names["spikes"]))
    written = json.loads(names["run"].path.read_text())
    assert "decoding" in str(written["claims"])
    assert names["ax"].get_title(loc="left") == "number 0"


def test_the_snippets_find_what_the_simulations_hold(names):
    """They are not only accepted: a readout reads, and synapses are found, above chance."""
    assert names["accuracy"].low > 1 / 8
    assert names["wiring"].synapse_auroc(names["found"], names["network"].truth.weights) > 0.6
    right = names["spike_correlations"](names["inferred"], names["spikes"][None])
    assert right[0] > 0.3


def test_its_commands_exist():
    commands = [line.split() for line in CARDS["The press"][1].splitlines()]
    known = {command.callback.__name__ for command in cli.app.registered_commands}
    assert {words[1] for words in commands if words[0] == "bookpress"} <= known
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {words[1] for words in commands if words[0] == "make"} <= set(targets)


@pytest.mark.parametrize("title", CARDS)
def test_no_line_is_cut_off_on_paper(title):
    assert [line for line in CARDS[title][1].splitlines() if len(line) > WIDEST] == []
