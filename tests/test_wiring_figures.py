"""Figures of wiring show the numbers that they are given, with types, units and chance."""

from __future__ import annotations

import importlib

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color, to_hex
from scipy.stats import t as student

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from visualcortex import figures
from visualcortex import wiring_figures as pictures
from visualcortex.connectivity import synapse_auprc, synapse_auroc
from visualcortex.spikes import SpikeTimes

TYPES = np.array(["E", "I", "E", "E", "I", "E"])
N = len(TYPES)


@pytest.fixture(autouse=True)
def fresh():
    with matplotlib.rc_context():
        figures.use_style()
        yield
        plt.close("all")


@pytest.fixture
def weights():
    """Synapses of six neurons, of one sign for each source."""
    rng = np.random.default_rng(0)
    found = rng.lognormal(size=(N, N)) * (rng.random((N, N)) < 0.5)
    np.fill_diagonal(found, 0)
    return np.where(TYPES == "I", -1, 1)[:, None] * found


@pytest.fixture
def scores(weights):
    """Scores of two methods, of which the second says nothing of neuron 3."""
    rng = np.random.default_rng(1)
    found = {"GLM": weights + rng.normal(size=(N, N)), "TE": rng.random((N, N)).round(1)}
    for matrix in found.values():
        np.fill_diagonal(matrix, np.nan)
    found["TE"][3] = found["TE"][:, 3] = np.nan
    return found


@pytest.fixture
def networks():
    """Two statistics of three methods on three networks."""
    rng = np.random.default_rng(2)
    rows = [
        (
            network,
            method,
            statistic,
            place + rng.random() / 10,
            0.5 if statistic == "AUROC" else 0.1,
        )
        for network in range(3)
        for place, method in ((0.6, "low"), (0.8, "high"), (0.7, "middle"))
        for statistic in ("AUROC", "AUPRC")
    ]
    return pd.DataFrame(rows, columns=["network", "method", "statistic", "value", "chance"])


@pytest.fixture
def qualities():
    """Two methods along a logarithmic and a linear axis, over four networks."""
    rng = np.random.default_rng(3)
    rows = [
        (axis, value, network, method, 0.6 + 0.3 * rng.random())
        for axis, values in (("frame_rate", [3.0, 10.0, 30.0]), ("gain", [0.0, 1.0]))
        for value in values
        for network in range(4)
        for method in ("GLM", "TE")
    ]
    return pd.DataFrame(rows, columns=["axis", "value", "network", "method", "AUROC"])


def lines(ax):
    """Lines of axes by their names."""
    return {line.get_label(): line for line in ax.lines}


def legend(owner):
    """What a legend says."""
    return [text.get_text() for text in owner.get_texts()]


def test_importing_changes_no_setting():
    before = dict(plt.rcParams)
    importlib.reload(pictures)
    assert dict(plt.rcParams) == before


def test_methods_keep_their_styles_and_differ():
    styles = pictures.method_styles([f"m{k}" for k in range(12)])
    assert len({(s["color"], str(s["linestyle"])) for s in styles.values()}) == 12
    assert styles["m1"] == pictures.method_styles(["other", "m1"])["m1"]
    for names in ([], [f"m{k}" for k in range(13)]):
        with pytest.raises(ValueError, match="need 1 to 12 methods"):
            pictures.method_styles(names)


def test_intervals_over_networks_are_those_of_student():
    table = pd.DataFrame({"method": list("bbbab"), "x": [1.0, 2.0, 4.0, 7.0, np.nan]})
    found = pictures.over_networks(table, ["method"], "x").set_index("method")
    assert list(found.index) == ["b", "a"]
    values = np.array([1.0, 2.0, 4.0])
    ends = student.interval(0.95, 2, values.mean(), values.std(ddof=1) / np.sqrt(3))
    assert found.loc["b", ["mean", "low", "high", "n"]].tolist() == pytest.approx(
        [values.mean(), *ends, 3]
    )
    assert found.loc["a", "mean"] == 7
    assert np.isnan(found.loc["a", ["low", "high"]].to_numpy(dtype=float)).all()
    with pytest.raises(ValueError, match=r"without \['y'\]"):
        pictures.over_networks(table, ["method"], "y")
    with pytest.raises(ValueError, match="need a finite 'x'"):
        pictures.over_networks(table.assign(x=np.nan), ["method"], "x")


def test_spikes_stand_type_by_type_above_their_rates():
    rng = np.random.default_rng(4)
    trains = [np.sort(rng.random(n) * 10) for n in (30, 0, 12, 40, 8, 25)]
    above, below = pictures.network_raster(
        SpikeTimes.from_lists(trains), TYPES, start=2.0, duration=3.0, step=0.5, title="spikes"
    )
    order = [0, 2, 3, 5, 1, 4]
    inside = [x[(x >= 2) & (x < 5)] for x in trains]
    for line, rows, colour in zip(
        above.lines, (range(4), range(4, 6)), (figures.GENERATED, figures.REAL), strict=True
    ):
        assert same_color(line.get_color(), colour)
        shown = {row: [] for row in rows}
        for x, y in zip(line.get_xdata()[::3], line.get_ydata()[::3], strict=True):
            shown[round(y + 0.42)].append(x)
        for row in rows:
            np.testing.assert_array_equal(shown[row], inside[order[row]])
    excitatory, inhibitory = below.lines
    expected = np.histogram(np.concatenate([inside[k] for k in order[:4]]), np.arange(2, 5.1, 0.5))
    np.testing.assert_allclose(excitatory.get_ydata()[:-1], expected[0] / 4 / 0.5)
    assert inhibitory.get_ydata().sum() > 0
    assert legend(above.get_legend()) == ["4 excitatory", "2 inhibitory"]
    assert above.get_xlim() == below.get_xlim() == (2, 5)
    assert (below.get_xlabel(), below.get_ylabel()) == ("time (s)", "spikes/s\nper neuron")
    assert above.get_title(loc="left") == "spikes"
    above.figure.canvas.draw()


@pytest.mark.parametrize(
    ("types", "settings", "message"),
    [
        (TYPES[1:], {}, r"for each of 6 neurons, at least one; got shape \(5,\)"),
        (["E"] * 5 + ["X"], {}, r"\['X'\]"),
        (TYPES, {"duration": 0.001}, "need a bin or more"),
    ],
)
def test_spikes_without_types_or_bins_are_refused(types, settings, message):
    spikes = SpikeTimes.from_lists([np.arange(3.0)] * N)
    with pytest.raises(ValueError, match=message):
        pictures.network_raster(spikes, types, **settings)


def test_matrices_are_ordered_by_type_and_keep_sign_rank_and_gaps(weights, scores):
    axes = pictures.wiring_matrices({"true": weights, **scores}, TYPES)
    order = np.array([0, 2, 3, 5, 1, 4])
    assert [ax.get_title(loc="left") for ax in axes] == ["true", "GLM", "TE"]
    for ax, matrix in zip(axes, (weights, *scores.values()), strict=True):
        shown = np.ma.filled(ax.images[0].get_array(), np.nan)
        given = matrix.copy()
        np.fill_diagonal(given, np.nan)
        given = given[np.ix_(order, order)]
        np.testing.assert_array_equal(np.isnan(shown), np.isnan(given))
        some = np.nan_to_num(shown) != 0
        assert (np.sign(shown[some]) == np.sign(given[some])).all()
        assert np.nanmax(np.abs(shown)) == pytest.approx(1, abs=0.2)
        hidden = ~some & np.isfinite(given)
        assert np.abs(given[some]).min() >= np.abs(given[hidden]).max()
        assert some.sum() <= 0.2 * np.isfinite(given).sum() + 3
    bars = [(to_hex(p.get_facecolor()), p.get_width()) for p in axes[1].patches[::2]]
    assert bars == [(figures.GENERATED, 4), (figures.REAL, 2)]
    assert legend(axes[0].figure.legends[0]) == ["4 excitatory", "2 inhibitory"]
    axes[0].figure.canvas.draw()


def test_the_scale_of_roots_is_cut_at_the_strongest(weights):
    (ax,) = pictures.wiring_matrices({"true": weights}, ["unknown"] * N, scale="root")
    shown = ax.images[0].get_array()
    limit = np.quantile(np.abs(weights[weights != 0]), 0.99)
    i, j = np.argwhere(weights != 0)[2]
    assert shown[i, j] == pytest.approx(
        np.sign(weights[i, j]) * np.sqrt(abs(weights[i, j]) / limit)
    )
    assert np.abs(shown).max() == 1


def test_matrices_that_do_not_fit_are_refused(weights):
    for given in ({}, {"a": weights[1:, 1:]}, {"a": weights[0]}):
        with pytest.raises(ValueError, match="at least one matrix"):
            pictures.wiring_matrices(given, TYPES)
    with pytest.raises(ValueError, match="scale must be one of"):
        pictures.wiring_matrices({"a": weights}, TYPES, scale="log")


def test_correlograms_stand_on_what_is_expected():
    lags = np.arange(-3, 4)
    counts = np.arange(14.0).reshape(2, 7)
    expected = counts / 2
    axes = pictures.correlogram_examples(
        lags,
        counts,
        expected,
        ["one", "two"],
        band=(expected - 1, expected + 1),
        delays=[2.0, np.nan],
    )
    for k, ax in enumerate(axes):
        steps = [p for p in ax.patches if p.get_label() == "counted"]
        values, edges, _ = steps[0].get_data()
        np.testing.assert_array_equal(values, counts[k])
        np.testing.assert_allclose(edges, np.arange(-3.5, 4))
        np.testing.assert_array_equal(lines(ax)["expected"].get_ydata(), expected[k])
        assert ax.get_xlabel() == "lag (ms)"
    assert lines(axes[0])["true delay"].get_xdata()[0] == 2
    assert "true delay" not in lines(axes[1])
    assert legend(axes[0].figure.legends[0]) == [
        "counted",
        "band of chance",
        "expected",
        "true delay",
    ]
    plain = pictures.correlogram_examples(lags, counts[:1], expected[:1], ["one"])
    assert "band of chance" not in legend(plain[0].figure.legends[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lags, x: (lags[1:], x, x, ["a", "b"]), r"\(pair, lag\)"),
        (lambda lags, x: (lags, x, x[:1], ["a", "b"]), r"\(1, 5\)"),
        (lambda lags, x: (lags, x, x, ["a"]), "1 titles"),
        (lambda lags, x: (lags**2, x, x, ["a", "b"]), "evenly spaced"),
    ],
)
def test_correlograms_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        pictures.correlogram_examples(*change(np.arange(-2, 3), np.ones((2, 5))))


@pytest.mark.parametrize("kind", ["any", "excitatory", "inhibitory"])
def test_the_areas_below_the_curves_are_those_of_the_library(weights, scores, kind):
    given = {"GLM": scores["GLM"], "constant": np.ones((N, N)), "TE": scores["TE"]}
    ax = pictures.precision_recall(given, weights, kind=kind)
    named = lines(ax)
    for name, matrix in given.items():
        area = synapse_auprc(matrix, weights, kind)
        line = named[f"{name}: {area:.2f}"]
        recall, precision = line.get_data()
        assert np.sum(np.diff(recall) * precision[1:]) == pytest.approx(area)
        assert line.get_drawstyle() == "steps-pre"
    others = ~np.eye(N, dtype=bool)
    sign = {"any": 0, "excitatory": 1, "inhibitory": -1}[kind]
    used = others & (sign * weights >= 0)
    assert (weights[used] != 0).mean() in [named[k].get_ydata()[0] for k in ("chance", "_")]
    ax = pictures.roc_curves(given, weights, kind=kind)
    for name, matrix in given.items():
        area = synapse_auroc(matrix, weights, kind)
        x, y = lines(ax)[f"{name}: {area:.3f}"].get_data()
        assert np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2) == pytest.approx(area)
    np.testing.assert_array_equal(*lines(ax)["chance"].get_data())
    assert ax.get_legend().get_title().get_text() == "area below"


def test_a_method_keeps_the_style_that_it_is_given(weights, scores):
    styles = pictures.method_styles(["other", "TE", "GLM"])
    ax = pictures.roc_curves(scores, weights, styles=styles)
    assert [line.get_color() for line in ax.lines[1:]] == [
        styles[name]["color"] for name in ("GLM", "TE")
    ]
    with pytest.raises(ValueError, match=r"without \['TE'\]"):
        pictures.precision_recall(scores, weights, styles=pictures.method_styles(["GLM"]))


def test_scores_without_a_curve_are_refused(weights, scores):
    for draw in (pictures.precision_recall, pictures.roc_curves):
        with pytest.raises(ValueError, match="need synapses and other pairs"):
            draw(scores, 0 * weights)
        with pytest.raises(ValueError, match="two square matrices"):
            draw(scores, weights[1:, 1:])
        with pytest.raises(ValueError, match="need 1 to 12 methods"):
            draw({}, weights)


def test_methods_are_ordered_by_their_means_with_every_network(networks):
    ax = pictures.methods_over_networks(networks, "AUROC", title="three networks")
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["high", "middle", "low"]
    shown = networks[networks["statistic"] == "AUROC"]
    means = shown.groupby("method")["value"].mean()
    dots = {c.get_label(): np.asarray(c.get_offsets()) for c in ax.collections}
    np.testing.assert_allclose(dots["one network"][:, 0], shown["value"])
    rows = dots["one network"][:, 1]
    assert set(rows[shown["method"] == "low"].round(6)) == {2.24}
    mean_dots = next(x for x in dots.values() if len(x) == 3 and set(x[:, 1]) == {0, 1, 2})
    np.testing.assert_allclose(mean_dots[:, 0], means.sort_values(ascending=False))
    assert lines(ax)["chance"].get_xdata()[0] == 0.5
    assert legend(ax.get_legend()) == ["chance", "one network"]
    assert (ax.get_xlabel(), ax.get_title(loc="left")) == ("AUROC", "three networks")


def test_a_summary_and_an_order_are_taken_as_given(networks):
    summary = pd.DataFrame(
        {"method": ["low", "high"], "mean": [0.1, 0.9], "low": [0.0, 0.8], "high": [0.2, 1.0]}
    )
    styles = pictures.method_styles(["low", "high", "middle"])
    twice = pd.concat([summary.assign(statistic=name) for name in ("AUROC", "AUPRC")])
    ax = pictures.methods_over_networks(
        networks.assign(chance=networks["method"].map({"low": 0.1, "high": 0.2, "middle": 0.3})),
        "AUPRC",
        summary=twice,
        methods=["low", "high"],
        styles=styles,
        legend=False,
    )
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["low", "high"]
    segments = [p.vertices[:, 0].tolist() for c in ax.collections if hasattr(c, "get_segments")
                for p in c.get_paths()]  # fmt: skip
    assert [0.0, 0.2] in segments
    assert [0.8, 1.0] in segments
    chance = next(c for c in ax.collections if c.get_label() == "chance")
    np.testing.assert_allclose(np.asarray(chance.get_offsets())[:, 0], [0.1, 0.2])
    assert ax.get_legend() is None
    assert len([c for c in ax.collections if c.get_label() == "one network"][0].get_offsets()) == 6


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        (lambda t: t.drop(columns="chance"), {}, r"without \['chance'\]"),
        (lambda t: t[t["statistic"] == "AUPRC"], {}, r"one of \['AUPRC'\]; got 'AUROC'"),
        (lambda t: pd.concat([t, t]), {}, "one row for each network; got 9 more"),
        (lambda t: t, {"methods": ["low", "none"]}, r"got \['none'\] too"),
        (lambda t: t, {"summary": pd.DataFrame({"method": ["low"]})}, "columns"),
    ],
)
def test_tables_of_networks_that_lack_something_are_refused(networks, change, settings, message):
    with pytest.raises(ValueError, match=message):
        pictures.methods_over_networks(change(networks), "AUROC", **settings)


def test_probabilities_stand_beside_the_diagonal_and_their_numbers_below():
    predicted = np.array([0.01, 0.3, 0.9])
    table = pd.DataFrame(
        {
            "predicted": predicted,
            "observed": predicted / 2,
            "low": 0.0,
            "high": 1.0,
            "n": [900, 40, 9],
        }
    )
    above, below = pictures.reliability_curve({"GLM": table, "network": table.assign(n=5)})
    for name in ("GLM", "network"):
        np.testing.assert_array_equal(lines(above)[name].get_xdata(), predicted)
        np.testing.assert_array_equal(lines(above)[name].get_ydata(), predicted / 2)
    np.testing.assert_array_equal(*lines(above)["calibrated"].get_data())
    assert [line.get_ydata().tolist() for line in below.lines] == [[900, 40, 9], [5, 5, 5]]
    assert below.get_yscale() == "log"
    assert below.get_xlabel() == "predicted probability"
    alone = pictures.reliability_curve(table, axes=plt.subplots(2)[1])
    assert legend(alone[0].get_legend()) == ["calibrated", "synapses"]
    with pytest.raises(ValueError, match=r"without \['n'\]"):
        pictures.reliability_curve(table.drop(columns="n"))
    with pytest.raises(ValueError, match="need 1 to 12"):
        pictures.reliability_curve({})


@pytest.mark.parametrize("asinh", [True, False])
def test_weights_are_drawn_by_sign_and_the_others_in_a_strip(weights, scores, asinh):
    estimated, errors = scores["GLM"], np.full((N, N), 0.1)
    ax = pictures.weights_against_truth(estimated, weights, errors, same_unit=True, asinh=asinh)
    for name, chosen in (("excitatory", weights > 0), ("inhibitory", weights < 0)):
        np.testing.assert_array_equal(lines(ax)[name].get_xdata(), weights[chosen])
        np.testing.assert_array_equal(lines(ax)[name].get_ydata(), estimated[chosen])
    none = (weights == 0) & ~np.eye(N, dtype=bool)
    x, y = lines(ax)["no synapse"].get_data()
    np.testing.assert_array_equal(y, estimated[none])
    assert 0 < np.abs(x).max() < np.abs(weights[weights != 0]).max()
    on_line = lines(ax)["equal"].get_data()
    np.testing.assert_array_equal(*on_line)
    bars = np.concatenate([c.get_segments() for c in ax.collections])
    assert len(bars) == np.count_nonzero(weights)
    np.testing.assert_allclose(np.ptp(bars[..., 1], axis=1), 0.2)
    assert ax.get_xscale() == ("asinh" if asinh else "linear")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("true weight (mV)", "estimated weight")
    ax.figure.canvas.draw()


def test_weights_without_a_synapse_or_of_other_neurons(weights):
    ax = pictures.weights_against_truth(weights, 0 * weights)
    assert len(lines(ax)["excitatory"].get_xdata()) == 0
    with pytest.raises(ValueError, match="square matrices"):
        pictures.weights_against_truth(weights, weights[1:, 1:])


def test_delays_of_synapses_are_counted_where_they_are_equal():
    true = np.array([1.0, 1.0, 2.0, 0.0, 3.0, *[2.0] * 5])
    estimated = np.array([1.5, 1.5, 2.0, 9.0, np.nan, *[2.0] * 5])
    ax = pictures.delay_scatter(estimated, true)
    (dots,) = ax.collections
    np.testing.assert_array_equal(dots.get_offsets(), [[1, 1.5], [2, 2]])
    assert dots.get_sizes()[1] == pytest.approx(3 * dots.get_sizes()[0])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("true delay (ms)", "estimated delay (ms)")
    with pytest.raises(ValueError, match="same pairs"):
        pictures.delay_scatter(estimated, true[1:])
    with pytest.raises(ValueError, match="no pair"):
        pictures.delay_scatter(estimated, 0 * true)


def test_a_panel_an_axis_shows_means_over_networks(qualities):
    axes = pictures.cliff(qualities, marks={"frame_rate": 100.0}, labels={"gain": "gain (dB)"})
    assert [ax.get_xlabel() for ax in axes] == ["frame rate (Hz)", "gain (dB)"]
    assert [ax.get_xscale() for ax in axes] == ["log", "linear"]
    for ax, axis in zip(axes, ("frame_rate", "gain"), strict=True):
        for method in ("GLM", "TE"):
            own = qualities[(qualities["axis"] == axis) & (qualities["method"] == method)]
            means = own.groupby("value")["AUROC"].mean()
            np.testing.assert_array_equal(lines(ax)[method].get_xdata(), means.index)
            np.testing.assert_allclose(lines(ax)[method].get_ydata(), means)
        assert lines(ax)["chance"].get_ydata()[0] == 0.5
    assert lines(axes[0])["original recording"].get_xdata()[0] == 100
    assert axes[0].get_xlim()[1] > 100
    assert "original recording" not in lines(axes[1])
    assert [tick.get_text() for tick in axes[0].get_xticklabels()] == ["3", "10", "30"]
    expected = ["chance", "GLM", "TE", "original recording"]
    assert legend(axes[0].figure.legends[0]) == expected
    assert axes[0].get_ylabel() == "AUROC"
    axes[0].figure.canvas.draw()


def test_values_too_close_for_their_names_have_none():
    values = np.array([0.0, 1.0, 2.0, 50.0, 99.0, 100.0])
    assert pictures._thinned(values, np.asarray) == [0, 50, 100]
    assert pictures._thinned(values[3:4], np.log) == [50]


def test_qualities_that_lack_something_are_refused(qualities):
    with pytest.raises(ValueError, match=r"without \['network'\]"):
        pictures.cliff(qualities.drop(columns="network"))
    with pytest.raises(ValueError, match="one row for each network; got 40 more"):
        pictures.cliff(pd.concat([qualities] * 2))
    with pytest.raises(ValueError, match=r"got some on \['noise'\]"):
        pictures.cliff(qualities, marks={"noise": 1.0})
    with pytest.raises(ValueError, match="need a style"):
        pictures.cliff(qualities, styles=pictures.method_styles(["GLM"]))


def test_drift_is_drawn_by_true_synapse_beside_all_runs(weights, scores):
    runs = np.array([0.5, 0.48, 0.61, 0.52, 0.45])
    left, right = pictures.drift_against_truth(scores["GLM"], weights, runs)
    drawn = [line.get_ydata() for line in left.lines if line.get_marker() == "o"]
    off = ~np.eye(N, dtype=bool)
    groups = [(weights == 0) & off, weights > 0, weights < 0]
    for values, chosen in zip(drawn, groups, strict=True):
        np.testing.assert_array_equal(values, scores["GLM"][chosen])
    names = [tick.get_text() for tick in left.get_xticklabels()]
    assert names[0] == f"no synapse\nn = {groups[0].sum()}"
    assert names[2].startswith("inhibitory\nsynapse")
    assert sum(patch.get_height() for patch in right.patches) == 5
    assert lines(right)["chosen run"].get_xdata()[0] == 0.61
    assert lines(right)["mean of all runs"].get_xdata()[0] == pytest.approx(runs.mean())
    _, right = pictures.drift_against_truth(scores["GLM"], weights, runs, chosen=1)
    assert lines(right)["chosen run"].get_xdata()[0] == 0.48
    (alone,) = pictures.drift_against_truth(0 * weights, np.abs(weights))
    assert len(alone.get_xticks()) == 2
    alone.figure.canvas.draw()


@pytest.mark.parametrize(
    ("runs", "chosen"), [([], None), ([0.5, np.nan], 0), ([[0.5]], 0), ([0.5], 1)]
)
def test_runs_that_are_none_are_refused(weights, runs, chosen):
    with pytest.raises(ValueError, match="one finite score a run"):
        pictures.drift_against_truth(weights, weights, np.array(runs), chosen=chosen)


def test_the_leak_has_four_bars_with_chance():
    table = pd.DataFrame(
        {"grouped": [True, False, True, False], "permuted": [True, True, False, False]}
    ).assign(value=[0.5, 0.9, 0.7, 0.95], low=0.4, high=0.97, chance=[0.6, 0.5, 0.6, 0.5])
    ax = pictures.leak_bars(table, title="leak")
    assert [bar.get_height() for bar in ax.patches] == [0.95, 0.9, 0.7, 0.5]
    assert [text.get_text() for text in ax.texts] == ["0.95", "0.90", "0.70", "0.50"]
    ends = [c.get_segments() for c in ax.collections]
    assert [s[0][:, 1].tolist() for s in ends] == [[0.4, 0.97], [0.5, 0.5], [0.4, 0.97], [0.6, 0.6]]
    assert "every cell on one side" in legend(ax.get_legend())
    assert (ax.get_ylabel(), ax.get_title(loc="left")) == ("accuracy", "leak")
    with pytest.raises(ValueError, match=r"without \['high'\]"):
        pictures.leak_bars(table.drop(columns="high"))
    for wrong in (table[:3], table.assign(grouped=True)):
        with pytest.raises(ValueError, match="each of the four cases"):
            pictures.leak_bars(wrong)
