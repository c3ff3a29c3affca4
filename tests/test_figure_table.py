"""Tables of what figures show: the numbers that were drawn, under the words of the figure."""

from __future__ import annotations

import csv
import io

import matplotlib.pyplot as plt
import numpy as np
import pytest

from bookpress import figure_table
from visualcortex import figures


def rows(table: figure_table.Table) -> list[list[str]]:
    return list(csv.reader(io.StringIO(table.csv())))


@pytest.fixture
def axes():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


@pytest.fixture
def only(axes):
    """Return a callable that gives the one table of the axes."""

    def table() -> figure_table.Table:
        (one,) = figure_table.tables(axes.figure)
        return one

    return table


class TestMarks:
    def test_a_line_stands_under_the_labels_of_its_axes(self, axes, only):
        axes.plot([0, 1], [2.5, 1 / 3], label="rate")
        axes.set(xlabel="time (s)", ylabel="rate (Hz)", title="One neuron")
        assert only().caption == "One neuron"
        assert rows(only()) == [
            ["series", "time (s)", "rate (Hz)"],
            ["rate", "0", "2.5"],
            ["rate", "1", "0.3333"],
        ]

    def test_a_band_becomes_the_ends_beside_its_line(self, axes, only):
        x = np.arange(3.0)
        figures.curves(x, {"a": (x, x - 1, x + 1), "b": x + 5}, xlabel="x", ylabel="y", ax=axes)
        assert rows(only()) == [
            ["series", "x", "y", "y, low end", "y, high end"],
            *(["a", f"{k}", f"{k}", f"{k - 1}", f"{k + 1}"] for k in range(3)),
            *(["b", f"{k}", f"{k + 5}", "", ""] for k in range(3)),
        ]

    def test_dots_with_intervals_are_named_by_the_words_of_their_ticks(self, axes, only):
        figures.dot_plot(
            ["net", "linear"], [0.5, 0.2], low=[0.4, 0.1], high=[0.6, 0.3], chance=0.05,
            quantity="score", ax=axes,
        )  # fmt: skip
        assert rows(only())[0][:3] == ["series", "score", "name"]
        assert rows(only())[1:] == [
            ["chance", "0.05", "", "", ""],
            ["dots", "0.5", "net", "0.4", "0.6"],
            ["dots", "0.2", "linear", "0.1", "0.3"],
        ]

    def test_stages_are_named_though_their_marks_stand_beside_the_ticks(self, axes, only):
        lines = {name: np.array([[1.0, 0, 2], [2, 1, 3]]) for name in ("one", "two")}
        figures.layer_curves(lines, ["V1", "IT"], quantity="score", ax=axes)
        assert [row[:3] for row in rows(only())[1:]] == [
            ["one", "V1", "1"], ["one", "IT", "2"], ["two", "V1", "1"], ["two", "IT", "2"],
        ]  # fmt: skip
        assert [row[3:] for row in rows(only())[1:]] == [["0", "2"], ["1", "3"]] * 2

    def test_an_interval_that_holds_no_value_stays_alone(self, axes, only):
        axes.vlines([0.0], 5, 6, color="C0")
        axes.plot([0.0], [1.0], color="C0")
        told = rows(only())
        assert ["line", "0", "1", "", ""] in told
        assert ["interval", "0", "", "5", "6"] in told

    def test_bars_and_their_error_bars(self, axes, only):
        axes.bar(["u", "v"], [1, 2], yerr=[0.5, 0.25], label="count", color="C0", ecolor="C0")
        assert [row[:3] for row in rows(only())[1:3]] == [["count", "u", "1"], ["count", "v", "2"]]
        assert [row[-2:] for row in rows(only())[1:3]] == [["0.5", "1.5"], ["1.75", "2.25"]]

    def test_outlines_are_told_once_by_their_edges(self, axes, only):
        figures.histograms({"a": np.array([0.0, 0, 1])}, quantity="x", bins=2, ax=axes)
        axes.set_ylabel("share")
        assert rows(only())[1:] == [["a", "0.6667", "0", "0.5"], ["a", "0.3333", "0.5", "1"]]

    def test_what_runs_across_the_panel_is_told_by_its_place(self, axes, only):
        axes.axhline(3, label="ceiling")
        axes.axvspan(1, 2, label="stimulus")
        axes.hlines([0, 1], 0, 1, transform=axes.get_yaxis_transform())  # a grid
        assert rows(only()) == [
            ["series", "y", "x, low end", "x, high end"],
            ["ceiling", "3", "", ""],
            ["stimulus", "", "1", "2"],
        ]

    def test_colours_of_dots_are_told_under_the_words_of_their_bar(self, axes, only):
        dots = axes.scatter([0, 1], [0, 1], c=[7, 8])
        axes.figure.colorbar(dots, ax=axes, label="depth (µm)")
        assert rows(only()) == [["x", "y", "depth (µm)"], ["0", "0", "7"], ["1", "1", "8"]]

    def test_hidden_artists_and_missing_values(self, axes, only):
        axes.plot([0, 1], [np.nan, 1])
        axes.plot([0], [9])[0].set_visible(False)
        assert rows(only()) == [["x", "y"], ["0", ""], ["1", "1"]]

    def test_an_empty_panel_has_no_table(self, axes):
        assert figure_table.tables(axes.figure) == []


class TestPictures:
    def test_a_picture_is_told_by_shape_and_range(self, axes, only):
        axes.imshow(np.arange(600.0).reshape(20, 30))
        axes.set_title("Map")
        assert rows(only())[1] == ["Map", "20", "30", "0", "299.5", "599"]

    def test_a_small_one_by_its_values_in_the_order_of_rows(self, axes):
        figures.confusion(np.array([[0.9, 0.1], [0.4, 0.6]]), ["cat", "dog"], ax=axes)
        values = figure_table.tables(axes.figure)[1]
        assert [row[:3] for row in rows(values)[1:]] == [
            ["cat", "cat", "0.9"], ["cat", "dog", "0.1"],
            ["dog", "cat", "0.4"], ["dog", "dog", "0.6"],
        ]  # fmt: skip

    def test_a_picture_that_is_drawn_from_below(self, axes):
        axes.imshow([[1.0], [2.0]], origin="lower")
        values = figure_table.tables(axes.figure)[1]
        assert rows(values)[1:] == [["0", "0", "1"], ["1", "0", "2"]]


class TestPanels:
    def test_panels_with_the_same_columns_share_a_table(self):
        figure, axes = plt.subplots(1, 3)
        for k, ax in enumerate(axes[:2]):
            ax.plot([0], [k])
            ax.set_title(f"panel {'ab'[k]}")
        axes[2].plot([0], [5])
        axes[2].set(xlabel="time (s)", title="other")
        shared, alone = figure_table.tables(figure)
        plt.close(figure)
        assert shared.caption == "2 panels"
        assert rows(shared) == [["panel", "x", "y"], ["panel a", "0", "0"], ["panel b", "0", "1"]]
        assert alone.caption == "other"

    def test_panels_of_one_name_are_told_apart(self):
        figure, axes = plt.subplots(1, 2)
        for ax in axes:
            ax.plot([0], [1])
            ax.set_ylabel("score")
        (table,) = figure_table.tables(figure)
        plt.close(figure)
        assert [row[0] for row in rows(table)[1:]] == ["score (panel 1)", "score (panel 2)"]

    def test_many_rows_are_thinned_evenly_and_counted(self, axes, only):
        axes.plot(np.arange(50_001))
        assert only().total == 50_001
        assert len(only().rows) == figure_table.MOST_ROWS
        assert (only().rows[0][0], only().rows[-1][0]) == (0, 50_000)


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (None, ""), ("V1", "V1"), (float("nan"), ""), (-0.0, "0"), (np.float32(0.1), "0.1"),
        (12345.678, "12350"), (1.23456e-9, "1.235e-09"), (1e12, "1e+12"), (-7, "-7"),
    ],
)  # fmt: skip
def test_numbers_have_four_digits(cell, said):
    assert figure_table.said(cell) == said


@pytest.mark.parametrize(("n", "most", "kept"), [(3, 5, 3), (5, 5, 5), (100, 7, 7)])
def test_thinning_keeps_both_ends(n, most, kept):
    found = figure_table.thinned(range(n), most)
    assert len(found) == kept
    assert (found[0], found[-1]) == (0, n - 1)
