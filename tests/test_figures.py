"""Figures show the arrays that they are given, labelled, and change nothing by being imported."""

import subprocess
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from visualcortex import figures


@pytest.fixture(autouse=True)
def fresh():
    with matplotlib.rc_context():
        yield
        plt.close("all")


def test_importing_changes_no_setting_and_use_style_does():
    code = (
        "import matplotlib; matplotlib.use('Agg'); import matplotlib.pyplot as plt\n"
        "before = dict(plt.rcParams)\n"
        "from visualcortex import figures\n"
        "assert dict(plt.rcParams) == before\n"
        "figures.use_style()\n"
        "assert plt.rcParams['axes.spines.top'] is False\n"
        "assert plt.rcParams['figure.facecolor'].strip('#') == figures.PAPER.strip('#')\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_raster_has_a_row_a_neuron_and_the_right_times():
    activity = np.random.default_rng(0).random((20, 5))
    ax = figures.raster(activity, seconds=2.0, quantity="active")
    assert np.array_equal(ax.images[0].get_array(), activity.T)
    assert ax.images[0].get_extent() == [0, 2.0, 5, 0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time (s)", "neuron")
    assert ax.figure.axes[-1].get_ylabel() == "active"
    assert figures.raster(activity).get_xlabel() == "trial"


def test_rate_scatter_is_square_with_the_line_of_equality():
    real, generated = np.array([0.1, 0.2, 0.4]), np.array([0.15, 0.1, 0.9])
    ax = figures.rate_scatter(real, generated, intervals=(real - 0.05, real + 0.3))
    assert np.allclose(ax.collections[-1].get_offsets(), np.column_stack([real, generated]))
    assert ax.get_xlim() == ax.get_ylim()
    assert ax.get_xlim()[0] < 0.05
    assert ax.get_xlim()[1] > 0.9
    line = ax.lines[0]
    assert np.array_equal(line.get_xdata(), line.get_ydata())


def test_correlation_matrices_share_a_scale_that_is_symmetric():
    rng = np.random.default_rng(1)
    data = {"real": np.corrcoef(rng.random((6, 50))), "generated": np.corrcoef(rng.random((6, 9)))}
    data["real"][2] = data["real"][:, 2] = np.nan
    order = rng.permutation(6)
    axes = figures.correlation_matrices(data, order=order)
    limits = {ax.images[0].get_clim() for ax in axes}
    assert len(limits) == 1
    low, high = limits.pop()
    assert low == -high < 0
    shown = np.asarray(axes[1].images[0].get_array().filled(np.nan))
    off = ~np.eye(6, dtype=bool)
    assert np.allclose(shown[off], data["generated"][np.ix_(order, order)][off])
    assert np.isnan(np.diag(shown)).all()
    assert [ax.get_title() for ax in axes] == ["real", "generated"]


def test_leading_order_brings_groups_together():
    group = np.array([0, 1] * 5)
    correlations = np.where(np.equal.outer(group, group), 0.6, -0.4) + 0.4 * np.eye(10)
    ordered = group[figures.leading_order(correlations)]
    assert np.count_nonzero(np.diff(ordered)) == 1


def test_dot_plot_shows_values_intervals_and_references():
    ax = figures.dot_plot(
        ["a", "b"], [0.8, 0.6], low=[0.7, 0.5], high=[0.9, 0.7],
        chance=0.5, ceiling=[0.95, np.nan], quantity="accuracy",
    )  # fmt: skip
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b"]
    assert np.allclose(ax.collections[-1].get_offsets(), [[0.8, 0], [0.6, 1]])
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["chance", "ceiling"]
    assert ax.lines[0].get_xdata() == [0.5, 0.5]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]


def test_training_history_marks_the_epoch_that_was_kept():
    history = pd.DataFrame({"epoch": [1, 2, 3], "loss": [3.0, 1.0, 2.0]})
    (ax,) = figures.training_history(history, {"loss": "loss (a.u.)"}, best_epoch=2)
    assert ax.lines[0].get_ydata().tolist() == [3.0, 1.0, 2.0]
    assert list(ax.lines[1].get_xdata()) == [2, 2]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss (a.u.)")


def test_histograms_are_shares_on_the_same_bins():
    rng = np.random.default_rng(2)
    samples = {"real": rng.random(50), "generated": np.append(rng.random(800), np.nan)}
    ax = figures.histograms(samples, quantity="rate", bins=10)
    outlines = [p.get_data() for p in ax.patches if not p.get_fill()]
    assert len(outlines) == 2
    assert np.array_equal(outlines[0].edges, outlines[1].edges)
    for outline in outlines:
        assert outline.values.sum() == pytest.approx(1)


def luminance(colour):
    """Relative luminance (WCAG)."""
    rgb = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("colour", ["REAL", "GENERATED", "CEILING", "INK"])
def test_colours_stand_out_from_the_paper(colour):
    ratio = (luminance(figures.PAPER) + 0.05) / (luminance(getattr(figures, colour)) + 0.05)
    assert ratio > 3


def test_activity_darkens_steadily():
    shades = [luminance(figures.ACTIVITY(x)) for x in np.linspace(0, 1, 50)]
    assert (np.diff(shades) < 0).all()
