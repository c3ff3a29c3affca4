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
from visualcortex.evaluation.intervals import Interval
from visualcortex.evaluation.reliability import power_law


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


def entries(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_curves_show_values_bands_and_references():
    x, value = [1, 10, 100], np.array([0.1, 0.5, 0.8])
    ax = figures.curves(
        x, {"a": (value, value - 0.1, value + 0.05), "b": value / 2},
        xlabel="neurons", ylabel="accuracy", log="x", chance=0.05, ceiling=value + 0.1,
    )  # fmt: skip
    assert entries(ax) == ["chance", "ceiling", "a", "b"]
    drawn = {line.get_label(): line for line in ax.lines}
    assert list(drawn["chance"].get_ydata()) == [0.05, 0.05]
    assert drawn["ceiling"].get_ydata() == pytest.approx(value + 0.1)
    assert drawn["a"].get_xydata() == pytest.approx(np.column_stack([x, value]))
    assert drawn["b"].get_ydata() == pytest.approx(value / 2)
    assert len({line.get_color() for line in drawn.values()}) == 4
    (band,) = ax.collections
    corners = band.get_paths()[0].vertices
    for end, shift in (("low", -0.1), ("high", 0.05)):
        for point in zip(x, value + shift, strict=True):
            assert np.isclose(corners, point).all(axis=1).any(), end
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "linear")
    assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "10", "100"]


def test_curves_added_to_axes_come_into_their_legend_in_another_colour():
    labels = {"xlabel": "x", "ylabel": "y", "log": "x"}
    ax = figures.curves([1, 2], {"a": np.ones(2)}, **labels)
    figures.curves([3, 4, 5], {"b": np.ones(3)}, ax=ax, **labels)
    assert entries(ax) == ["a", "b"]
    assert [line.get_color() for line in ax.lines] == list(figures.SERIES[:2])


def test_curves_of_one_line_need_no_legend_and_zeros_no_warning_on_a_logarithmic_axis():
    low = np.array([0.0, 0.01, 0.3])
    lines = {"only": (np.array([0.0, 0.1, 0.5]), low, low + 0.3)}
    ax = figures.curves([1, 2, 3], lines, xlabel="x", ylabel="y", log="xy")
    ax.figure.draw_without_rendering()
    assert ax.get_legend() is None
    assert 0 < ax.get_ylim()[0]


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        ({"a": np.ones(3)}, {}, "array of 2 values"),
        ({"a": (np.ones(2), np.ones(2))}, {}, "a tuple of three"),
        ({"a": (np.ones(2), np.ones(2), np.ones(3))}, {}, "a tuple of three"),
        ({"a": np.ones(2)}, {"log": "z"}, "log must be"),
        ({str(k): np.ones(2) for k in range(7)}, {}, "7 lines for 6 colours"),
    ],
)
def test_curves_refuse_lines_that_do_not_fit(lines, options, message):
    with pytest.raises(ValueError, match=message):
        figures.curves([1, 2], lines, xlabel="x", ylabel="y", **options)


def test_layer_curves_show_values_intervals_and_references_above_the_names():
    trained = [Interval(0.1, 0.0, 0.3), Interval(0.5, 0.4, 0.6), Interval(np.nan, np.nan, np.nan)]
    random = np.array([[0.2, 0.1, 0.25], [0.3, 0.2, 0.35], [0.1, 0.0, 0.2]])
    ax = figures.layer_curves(
        {"trained": trained, "random": random}, ["conv", "pool", "readout"],
        ceiling=0.8, chance=[0.0, 0.1, 0.0], quantity="explained variance",
    )  # fmt: skip
    assert entries(ax) == ["chance", "ceiling", "trained", "random"]
    assert ax.get_ylabel() == "explained variance"
    assert [t.get_text() for t in ax.get_xticklabels()] == ["conv", "pool", "readout"]
    chance, ceiling, *lines = ax.lines
    assert chance.get_xydata().tolist() == [[0, 0.0], [1, 0.1], [2, 0.0]]
    assert list(ceiling.get_ydata()) == [0.8, 0.8]
    for line, bars, expected in zip(lines, ax.collections, (trained, random), strict=True):
        value, low, high = np.transpose(expected)
        assert np.array_equal(line.get_ydata(), value, equal_nan=True)
        drawn = [bar for bar in bars.get_segments() if len(bar)]
        there = np.column_stack([line.get_xdata(), low, high])[np.isfinite(value)]
        for bar, (at, *ends) in zip(drawn, there, strict=True):
            assert np.allclose(bar, [[at, ends[0]], [at, ends[1]]])
    # bars stand beside each other, symmetric about the name
    first, second = (line.get_xdata() for line in lines)
    assert (first < second).all()
    assert np.allclose((first + second) / 2, [0, 1, 2])
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 2
    assert len({line.get_marker() for line in lines}) == 2


def test_layer_curves_without_intervals_stand_above_their_names():
    ax = figures.layer_curves({"a": [0.1, 0.2, 0.3]}, ["V1", "V4", "IT"], quantity="share")
    assert ax.lines[0].get_xydata().tolist() == [[0, 0.1], [1, 0.2], [2, 0.3]]
    assert ax.get_legend() is None
    assert {t.get_rotation() for t in ax.get_xticklabels()} == {0}
    # added to the same axes: another colour, another mark
    figures.layer_curves({"b": [0.0, 0.1, 0.2]}, ["V1", "V4", "IT"], quantity="share", ax=ax)
    assert entries(ax) == ["a", "b"]
    assert [line.get_color() for line in ax.lines] == list(figures.SERIES[:2])
    assert [line.get_marker() for line in ax.lines] == list(figures.MARKERS[:2])


def test_long_names_of_layers_do_not_touch():
    names = [f"stage {k}, block {k}" for k in range(8)]
    ax = figures.layer_curves({"a": np.arange(8.0)}, names, quantity="share")
    ax.figure.draw_without_rendering()
    ends = [t.get_window_extent().x1 for t in ax.get_xticklabels()]
    assert {t.get_rotation() for t in ax.get_xticklabels()} == {45}
    assert (np.diff(ends) > 10).all()


@pytest.mark.parametrize(
    ("lines", "layers"),
    [
        ({"a": np.ones(3)}, ["x", "y"]),
        ({"a": np.ones((2, 2))}, ["x", "y"]),
        ({"a": np.ones((3, 2))}, ["x", "y"]),
        ({}, ["x", "y"]),
        ({"a": []}, []),
        ({str(k): np.ones(2) for k in range(7)}, ["x", "y"]),
    ],
)
def test_layer_curves_refuse_lines_that_do_not_fit(lines, layers):
    with pytest.raises(ValueError, match=f"one interval .* for each of {len(layers)} layers"):
        figures.layer_curves(lines, layers, quantity="share")


def test_the_fit_of_a_power_law_lies_on_it():
    rank = np.arange(1, 301)
    values = 0.3 * rank**-1.2
    law = power_law(values, (5, 1000))
    values[250] = -1
    ax = figures.spectrum({"natural": values, "other": values / 9}, fits={"natural": law},
                          ranks=(5, 1000), quantity="variance (a.u.)")  # fmt: skip
    line, fit, other = ax.lines
    assert np.isnan(line.get_ydata()[250])
    assert np.delete(line.get_ydata(), 250) == pytest.approx(np.delete(values, 250))
    assert fit.get_xdata().tolist() == [5, 300]
    assert fit.get_ydata() == pytest.approx(values[[4, 299]])
    assert entries(ax) == ["natural", "fit: rank$^{-1.20}$", "other"]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("rank", "variance (a.u.)")


def test_a_fit_without_a_line_is_refused():
    with pytest.raises(ValueError, match="without a line: \\['b'\\]"):
        figures.spectrum({"a": np.ones(20)}, fits={"b": (1.0, 0.0)})


def test_confusion_has_a_row_a_true_class():
    shares = np.array([[0.7, 0.3, 0.0], [0.2, 0.2, 0.6], [np.nan] * 3])
    ax = figures.confusion(shares, ["cats", "mice", "nests"])
    shown = ax.images[0]
    assert np.array_equal(shown.get_array().filled(np.nan), shares, equal_nan=True)
    assert shown.get_clim() == (0, 0.7)
    # the first row is at the top, like the first name
    assert [t.get_text() for t in ax.get_yticklabels()] == ["cats", "mice", "nests"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    assert ax.figure.axes[-1].get_ylabel() == "share of the class's presentations"
    # a class that was never shown does not look like one that is never predicted
    assert not np.allclose(shown.cmap(np.ma.masked_invalid([np.nan])), shown.cmap([0.0]))
    with pytest.raises(ValueError, match="one name a class"):
        figures.confusion(shares, ["cats", "mice"])


def test_pictures_share_a_scale_that_is_symmetric_about_the_middle_grey():
    images = 100 + np.random.default_rng(3).normal(size=(5, 6, 8)) * np.arange(1, 6)[:, None, None]
    axes = figures.image_grid(images, list("abcde"), n_columns=3, centre=100.0)
    assert len(axes) == len(axes[0].figure.axes) == 5
    for ax, image, title in zip(axes, images, "abcde", strict=True):
        assert np.array_equal(ax.images[0].get_array(), image)
        assert ax.get_title() == title
        low, high = ax.images[0].get_clim()
        assert low + high == pytest.approx(200)
        assert high - 100 == pytest.approx(np.quantile(np.abs(images - 100), 0.99))
    assert axes[0].get_position().y0 > axes[3].get_position().y0
    assert figures.image_grid(images, limit=2.5)[4].images[0].get_clim() == (-2.5, 2.5)
    given = plt.subplots(1, 5)[1]
    assert figures.image_grid(images, axes=given)[2] is given[2]


@pytest.mark.parametrize(
    ("shape", "titles"), [((6, 8), None), ((2, 6, 8), ["one"]), ((1, 2, 6, 8), ["one"])]
)
def test_other_things_than_pictures_are_refused(shape, titles):
    with pytest.raises(ValueError, match="one title a picture"):
        figures.image_grid(np.ones(shape), titles)


def test_planes_of_voxels_show_what_is_empty():
    rng = np.random.default_rng(4)
    voxels, filled = rng.normal(size=(3, 4, 5)), rng.random((3, 4, 5)) < 0.6
    voxels[~filled] = 1e9
    axes = figures.voxel_planes(
        voxels, depths_um=[100, 133, 166], filled=filled, extent_um=(0, 500, 400, 0)
    )
    assert [ax.get_title() for ax in axes] == ["z = 100 µm", "z = 133 µm", "z = 166 µm"]
    assert {ax.images[0].get_clim() for ax in axes} == {axes[0].images[0].get_clim()}
    low, high = axes[0].images[0].get_clim()
    assert -low == high == pytest.approx(np.quantile(np.abs(voxels[filled]), 0.99))
    for ax, plane, there in zip(axes, voxels, filled, strict=True):
        shown = ax.images[0].get_array()
        assert np.array_equal(np.ma.getmaskarray(shown), ~there)
        assert np.array_equal(shown.compressed(), plane[there])
        assert ax.images[0].get_extent() == [0, 500, 400, 0]
        assert ax.patch.get_hatch()
    assert axes[0].get_ylabel() == "y (µm)"
    assert figures.voxel_planes(voxels)[0].get_xlabel() == "voxel"


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((4, 5), {}),
        ((3, 4, 5), {"filled": np.ones((3, 4))}),
        ((3, 4, 5), {"depths_um": [1, 2]}),
    ],
)
def test_maps_that_do_not_fit_are_refused(shape, options):
    with pytest.raises(ValueError, match="one depth a plane"):
        figures.voxel_planes(np.ones(shape), **options)


def test_a_raster_of_spikes_has_a_tick_a_spike_and_rows_for_the_silent():
    trials, times = np.array([0, 2, 2]), np.array([0.1, -0.05, 0.2])
    ax = figures.spike_raster(trials, times, n_rows=5, window=(-0.1, 0.3), stimulus=(0, 0.25))
    (line,) = ax.lines
    x, y = (np.reshape(part, (3, 3)) for part in (line.get_xdata(), line.get_ydata()))
    assert np.array_equal(x, np.repeat(times[:, None], 3, axis=1))
    assert np.allclose(y[:, :2].mean(axis=1), trials)
    # ticks of neighbouring rows do not touch, and are not joined
    assert (np.diff(y[:, :2]) < 1).all()
    assert np.isnan(y[:, 2]).all()
    assert ax.get_ylim() == (4.5, -0.5)
    assert ax.get_xlim() == (-0.1, 0.3)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time (s)", "trial")
    assert len(ax.patches) == 1
    assert figures.spike_raster(trials, times).get_ylim() == (2.5, -0.5)
    silent = figures.spike_raster(np.empty(0, int), np.empty(0), n_rows=2, rows="neuron")
    assert silent.get_ylabel() == "neuron"
    silent.figure.draw_without_rendering()


@pytest.mark.parametrize(
    ("trials", "n_times", "n_rows", "message"),
    [
        ([0, 1], 3, None, r"\(2,\) and \(3,\)"),
        ([0.0, 1.0], 2, None, "got float64"),
        ([0, 4], 2, 4, "from 0 to 3; got up to 4"),
        ([-1, 1], 2, None, "from 0 to 1"),
        ([], 0, None, "Pass n_rows"),
    ],
)
def test_spikes_without_a_row_are_refused(trials, n_times, n_rows, message):
    with pytest.raises(ValueError, match=message):
        figures.spike_raster(np.array(trials), np.zeros(n_times), n_rows=n_rows)


def test_a_histogram_is_the_rate_over_trials_with_its_standard_error():
    counts = np.random.default_rng(0).poisson(2.0, size=(20, 3))
    edges = np.array([0.0, 0.1, 0.3, 0.4])
    ax = figures.psth({"trees": counts, "a single one": counts[:1]}, edges, stimulus=(0, 0.25))
    rates, single = ax.lines
    width = np.array([0.1, 0.2, 0.1])
    assert np.array_equal(rates.get_xdata(), edges)
    assert rates.get_drawstyle() == "steps-post"
    mean = counts.mean(axis=0) / width
    assert rates.get_ydata() == pytest.approx(np.append(mean, mean[-1]))
    assert single.get_ydata()[:3] == pytest.approx(counts[0] / width)
    (band,) = ax.collections  # none around the single trial
    error = counts.std(axis=0, ddof=1) / width / np.sqrt(20)
    heights = band.get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx((mean + error).max())
    assert heights.min() == pytest.approx((mean - error).min())
    assert entries(ax) == ["stimulus", "trees", "a single one"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time (s)", "rate (spikes/s)")
    assert ax.get_ylim()[0] == 0


@pytest.mark.parametrize(
    ("shape", "edges", "message"),
    [
        ((4, 3), [0, 1, 2], "got 3 edges and counts"),
        ((0, 2), [0, 1, 2], r"\(0, 2\)"),
        ((4, 2), [0, 2, 1], "rising edges"),
        ((4, 2, 5), [0, 1, 2], "Select one neuron"),
    ],
)
def test_counts_that_do_not_fit_their_bins_are_refused(shape, edges, message):
    with pytest.raises(ValueError, match=message):
        figures.psth({"x": np.ones(shape)}, edges)


def test_no_histogram_and_too_many_are_refused():
    for n in (0, 7):
        with pytest.raises(ValueError, match="1 to 6 histograms"):
            figures.psth({str(k): np.ones((2, 2)) for k in range(n)}, [0, 1, 2])


def test_the_reliability_diagram_has_intervals_and_the_line_of_calibration():
    curve = pd.DataFrame(
        {"confidence": [0.3, 0.8], "accuracy": [0.4, 0.5], "low": [0.3, 0.4], "high": [0.5, 0.7]}
    )
    ax = figures.reliability_diagram({"logistic": curve, "network": 0.5 * curve})
    line, first, second = ax.lines
    assert np.array_equal(line.get_xdata(), line.get_ydata())
    assert line.get_color() == figures.CHANCE
    assert np.array_equal(first.get_xydata(), curve[["confidence", "accuracy"]])
    assert first.get_marker() != second.get_marker()
    ends = np.array([path[:, 1] for path in ax.collections[0].get_segments()])
    assert np.array_equal(ends, curve[["low", "high"]])
    assert entries(ax) == ["calibrated", "logistic", "network"]
    assert ax.get_aspect() == 1
    assert "confidence" in ax.get_xlabel()
    with pytest.raises(ValueError, match=r"without them: \['logistic'\]"):
        figures.reliability_diagram({"logistic": curve.drop(columns="low")})
    with pytest.raises(ValueError, match="1 to 6 curves"):
        figures.reliability_diagram({})


def test_weights_are_put_in_the_order_of_areas_with_borders_between():
    rng = np.random.default_rng(0)
    areas = np.array(["VISl", "VISp", "VISl", "LGd", "VISp", "VISp"])
    weights = rng.normal(size=(6, 6)) * (rng.random((6, 6)) < 0.5)
    np.fill_diagonal(weights, np.nan)
    ax = figures.adjacency(weights, areas, order=["LGd", "VISp", "CA1", "VISl"], quantity="w (mV)")
    order = [3, 1, 4, 5, 0, 2]
    shown = ax.images[0].get_array().filled(np.nan)
    assert np.array_equal(shown, weights[np.ix_(order, order)], equal_nan=True)
    low, high = ax.images[0].get_clim()
    assert low == -high < 0
    linked = weights[np.isfinite(weights) & (weights != 0)]
    assert high == pytest.approx(np.quantile(np.abs(linked), 0.99))
    borders = {float(line.get_xdata()[0]) for line in ax.lines[1::2]}
    assert borders == {float(line.get_ydata()[0]) for line in ax.lines[::2]} == {0.5, 3.5}
    assert [t.get_text() for t in ax.get_yticklabels()] == ["LGd", "VISp", "VISl"]
    assert ax.get_yticks().tolist() == ax.get_xticks().tolist() == [0, 2, 4.5]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("target, by area", "source, by area")
    assert ax.figure.axes[-1].get_ylabel() == "w (mV)"
    first = figures.adjacency(weights, areas, limit=2.0)
    assert [t.get_text() for t in first.get_xticklabels()] == ["VISl", "VISp", "LGd"]
    assert first.images[0].get_clim() == (-2, 2)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((3, 3), {}, r"shapes \(3, 3\) and \(2,\)"),
        ((2, 3), {}, "square matrix"),
        ((2, 2), {"order": ["a"]}, r"without \['b'\]"),
        ((2, 2), {"order": ["a", "b", "a"]}, "each area once"),
    ],
)
def test_weights_without_an_area_are_refused(shape, options, message):
    with pytest.raises(ValueError, match=message):
        figures.adjacency(np.ones(shape), ["a", "b"], **options)
