"""The explorers count what is found at a threshold, and show the means at a quality."""

import io

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.colors import same_color
from matplotlib.patches import StepPatch

from visualcortex import figures, widgets, wiring_widgets
from visualcortex.connectivity import cliff
from visualcortex.simulators.wired_network import WiredNetwork

N = 12
TYPES = np.array(["E", "I"])[np.arange(N) % 3 // 2]


@pytest.fixture(autouse=True)
def fresh():
    yield
    plt.close("all")


@pytest.fixture
def network():
    """Scores of two methods, the second without one neuron, the synapses and the types."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(N, N)) * (rng.random((N, N)) < 0.2)
    np.fill_diagonal(weights, 0)
    scores = {"GLM": weights + 0.3 * rng.normal(size=(N, N)), "TE": rng.random((N, N))}
    scores["TE"][4] = scores["TE"][:, 4] = np.nan
    return scores, weights, TYPES


@pytest.fixture
def table():
    """Two methods along two axes, of three values and of one, over four networks."""
    rng = np.random.default_rng(1)
    rows = [
        (axis, value, k, method, 0.6 + 0.3 * rng.random())
        for axis, values in (("frame_rate", [3.0, 10.0, 30.0]), ("gain", [2.0]))
        for value in values
        for k in range(4)
        for method in ("GLM", "TE")
    ]
    return pd.DataFrame(rows, columns=["axis", "value", "network", "method", "AUROC"])


def controls(explorer):
    return {c.description: c for c in explorer.children[0].children}


def picture(explorer):
    return plt.imread(io.BytesIO(explorer.children[1].value))


@pytest.fixture
def explore(monkeypatch):
    """Make an explorer that draws no pixels, move its controls; return its axes too."""
    figures_made, view = [], wiring_widgets.View

    def keep(figure, *others):
        figures_made.append(figure)
        return view(figure, *others)

    def explore(make, *arguments, **chosen):
        explorer = make(*arguments)
        for name, value in chosen.items():
            controls(explorer)[name.replace("_", " ")].value = value
        return explorer, figures_made[-1].axes

    monkeypatch.setattr(wiring_widgets, "View", keep)
    monkeypatch.setattr(widgets, "_png", lambda _figure: b"")
    return explore


def by_hand(scores, weights, n_called):
    """Found, missed and false among the pairs with a score, by sorting them in a loop."""
    pairs = [(i, j) for i in range(N) for j in range(N) if i != j and np.isfinite(scores[i, j])]
    pairs.sort(key=lambda pair: -abs(scores[pair]))
    called = [weights[pair] != 0 for pair in pairs[:n_called]]
    missed = sum(weights[pair] != 0 for pair in pairs[n_called:])
    return sum(called), missed, len(called) - sum(called)


def test_each_control_changes_the_picture_and_back(network, table):
    for make, arguments, values in (
        (wiring_widgets.wiring_explorer, network, {"Method": "TE", "Pairs called": 40}),
        (wiring_widgets.cliff_explorer, (table,), {"Value": 2}),
    ):
        explorer = make(*arguments)
        assert set(values) <= set(controls(explorer))
        assert all(c.tooltip for c in controls(explorer).values())
        before = picture(explorer)
        for name, value in values.items():
            old, controls(explorer)[name].value = controls(explorer)[name].value, value
            assert not np.array_equal(picture(explorer), before)
            controls(explorer)[name].value = old
            assert np.array_equal(picture(explorer), before)
    assert plt.get_fignums() == []


@pytest.mark.parametrize("method", ["GLM", "TE"])
@pytest.mark.parametrize("n_called", [0, 15, 60])
def test_the_matrix_and_the_point_are_those_of_the_threshold(network, explore, method, n_called):
    scores, weights, _ = network
    _, (left, right) = explore(
        wiring_widgets.wiring_explorer, *network, Method=method, Pairs_called=n_called
    )
    found, missed, false = by_hand(scores[method], weights, n_called)
    assert left.get_title() == f"{method}\n{found} found, {missed} missed, {false} false"
    order = np.argsort(TYPES, kind="stable")
    shown = np.asarray(left.images[0].get_array())
    assert [np.count_nonzero(shown == k) for k in (1, 2, 3)] == [found, missed, false]
    known = np.isfinite(scores[method]) & ~np.eye(N, dtype=bool)
    np.testing.assert_array_equal(shown == 4, ~known[np.ix_(order, order)])
    synapses = ((weights != 0) & known)[np.ix_(order, order)]
    np.testing.assert_array_equal(np.isin(shown, [1, 2]), synapses)
    # the last dot is the chosen method's, the one before that of the other, at as many calls
    for line, name in zip(right.lines[-2:], sorted(scores, key=[method].count), strict=True):
        found, missed, false = by_hand(scores[name], weights, n_called)
        expected = [found / (found + missed), found / max(found + false, 1)]
        assert [line.get_xdata()[0], line.get_ydata()[0]] == pytest.approx(expected)
    title = f"{n_called} pairs called\nrecall {expected[0]:.2f}, precision {expected[1]:.2f}"
    assert right.get_title() == title
    assert right.texts[0].get_text() == f"by chance {synapses.sum() / known.sum():.2f}"
    widths = {line.get_label(): line.get_linewidth() for line in right.lines}
    assert widths[method] > widths["TE" if method == "GLM" else "GLM"]


def test_the_slider_starts_at_the_number_of_synapses(network, explore):
    explorer, _ = explore(wiring_widgets.wiring_explorer, *network)
    slider = controls(explorer)["Pairs called"]
    n = np.count_nonzero(network[1])
    assert (slider.value, slider.max) == (n, min(4 * n, (N - 1) * (N - 2)))
    slider.value = n - 1  # any number can be called, whatever the number of pairs
    assert slider.value == n - 1


def test_small_multiples_have_a_matrix_a_method(network):
    scores, weights, types = network
    more = {f"m{k}": scores["GLM"] * (k + 1) for k in range(4)}
    figure = wiring_widgets.wiring_small_multiples(more, weights, types, n_called=9)
    titles = [ax.get_title().splitlines() for ax in figure.axes]
    assert [name for name, _ in titles] == list(more)
    assert len({said for _, said in titles}) == 1
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[:3] == ["synapse found", "synapse missed", "called, but none"]
    assert names[3:] == ["excitatory neurons", "inhibitory neurons"]
    default = wiring_widgets.wiring_small_multiples(*network)
    found, missed, false = by_hand(scores["GLM"], weights, np.count_nonzero(weights))
    assert f"{found} found, {missed} missed, {false} false" in default.axes[0].get_title()
    assert missed == false
    with pytest.raises(ValueError, match="n_called must be"):
        wiring_widgets.wiring_small_multiples(*network, n_called=-1)


@pytest.mark.parametrize(
    "draw", [wiring_widgets.wiring_explorer, wiring_widgets.wiring_small_multiples]
)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, w, t: ({}, w, t), "at least one method"),
        (lambda s, w, t: ({"a": s["GLM"][1:, 1:]}, w, t), r"'a': \(11, 11\)"),
        (lambda s, w, t: (s, w[1:, 1:], t), r"and \(11, 11\)"),
        (lambda s, w, t: (s, w, t[1:]), "of 11 neurons"),
        (lambda s, w, t: (s, w, ["X"] * N), r"\['X'\]"),
        (lambda s, w, t: (s, 0 * w, t), "need synapses and other pairs"),
    ],
)
def test_scores_that_do_not_fit_are_refused(network, draw, change, message):
    with pytest.raises(ValueError, match=message):
        draw(*change(*network))


def test_recovery_at_a_value_is_the_mean_over_networks(table, explore):
    explorer, (left, right) = explore(wiring_widgets.cliff_explorer, table)
    slider = controls(explorer)["Value"]
    assert slider.value == 1
    assert [name for name, _ in slider.options] == ["lowest", "2 of 3", "highest"]
    slider.value = 2
    at = table[(table["axis"] == "frame_rate") & (table["value"] == 30)]
    means = at.groupby("method")["AUROC"].mean()
    said = [f"{name} {mean:.2f}" for name, mean in means.items()]
    assert right.get_title().splitlines() == ["frame rate (Hz): 30", *said]
    assert [tick.get_text() for tick in right.get_yticklabels()] == ["GLM", "TE"]
    shown = [np.asarray(c.get_offsets())[:, 0] for c in right.collections]
    assert any(len(x) == 2 and np.allclose(x, means) for x in shown)
    assert any(len(x) == 8 and np.allclose(x, at["AUROC"]) for x in shown)
    assert left.lines[-1].get_xdata()[0] == 30
    assert left.get_ylim() == right.get_xlim()
    line = next(line for line in left.lines if line.get_label() == "TE")
    assert same_color(line.get_color(), figures.SERIES[1])


def test_every_axis_goes_from_its_lowest_value_to_its_highest(table, explore):
    explorer, (left, right) = explore(wiring_widgets.cliff_explorer, table, Quality="gain")
    slider = controls(explorer)["Value"]
    for place in range(3):
        slider.value = place
        assert right.get_title().splitlines()[0] == "gain: 2"
    assert slider.disabled
    assert left.get_xscale() == "linear"
    controls(explorer)["Quality"].value = "frame_rate"
    assert right.get_title().splitlines()[0] == "frame rate (Hz): 30"
    assert (slider.disabled, left.get_xscale()) == (False, "log")
    found = wiring_widgets._Cliff(table, "AUROC", None, None)
    assert [found.value_at("frame_rate", place) for place in range(3)] == [3.0, 10.0, 30.0]


def test_only_methods_of_an_axis_have_a_row_there(table, explore):
    one = table[(table["axis"] != "gain") | (table["method"] == "TE")]
    explorer, (_, right) = explore(wiring_widgets.cliff_explorer, one, Quality="gain")
    assert [tick.get_text() for tick in right.get_yticklabels()] == ["TE"]
    names = [text.get_text() for text in right.figure.legends[0].get_texts()]
    assert names == ["GLM", "TE", "one network", "chance"]


def test_the_ceiling_is_drawn_and_named_where_there_is_one(table):
    view = wiring_widgets.cliff_explorer(table, ceiling=0.97)
    left, right = view.figure.axes
    for ax, of in ((left, "get_ydata"), (right, "get_xdata")):
        lines = [x for x in ax.lines if same_color(x.get_color(), figures.CEILING)]
        assert [getattr(line, of)()[0] for line in lines] == [0.97]
        assert ax.get_ylim()[1] > 0.97 or ax is right
    names = [text.get_text() for text in view.figure.legends[0].get_texts()]
    assert names[-1] == "ceiling"


@pytest.fixture(scope="module")
def recording():
    return WiredNetwork(n_neurons=12, duration=70.0).simulate(3)


@pytest.fixture
def seen_table():
    """Recovery along four axes of the cliff, of two networks."""
    some = {name: cliff.AXES[name].values for name in SHOWN_AXES}
    rows = [
        (name, value, k, "TE", 0.6 + 0.1 * k)
        for name, values in some.items()
        for value in values
        for k in range(2)
    ]
    return pd.DataFrame(rows, columns=["axis", "value", "network", "method", "AUROC"])


SHOWN_AXES = ["frame rate, Hz", "bin rate, Hz", "share seen", "minutes"]


def steps(ax):
    return [patch for patch in ax.patches if isinstance(patch, StepPatch)]


def test_some_neurons_are_shown_as_they_are_seen(recording, seen_table):
    view = wiring_widgets.cliff_explorer(seen_table, recording)
    above, _, right = view.figure.axes
    for place, rate in ((0, 2), (6, 60), (7, 100)):
        view.controls["value"].value = place
        assert f"Hz: {rate}" in right.get_title()
        assert above.get_title() == (
            f"Calcium, {rate} a second, of 10 minutes; below each, its true spikes"
        )
        assert [len(row.get_data().values) for row in steps(above)] == [4 * rate] * 4
    view.controls["axis"].value = "share seen"
    for place, names in ((0, ["source", *["unseen"] * 3]), (2, ["source", "target"])):
        view.controls["value"].value = place
        said = [tick.get_text() for tick in above.get_yticklabels()]
        assert said[: len(names)] == names
        assert len(steps(above)) == 4 - said.count("unseen")


def test_what_is_seen_in_fine_bins_are_the_true_spikes_of_the_source(recording, seen_table):
    view = wiring_widgets.cliff_explorer(seen_table, recording)
    view.controls["axis"].value = "bin rate, Hz"
    view.controls["value"].value = 7  # 200 Hz
    above = view.figure.axes[0]
    # from the strongest excitatory synapse on
    source = np.unravel_index(recording.truth.weights.argmax(), recording.truth.weights.shape)[0]
    true = recording.spikes.of(source)
    lines = np.array([segment[0, 0] for segment in above.collections[0].get_segments()])
    starts = np.arange(0.0, 60.0, 4.0)
    stretches = [true[(true >= t) & (true <= t + 4)] - t for t in starts]
    busiest = max(stretches, key=len)
    np.testing.assert_allclose(lines, busiest, atol=1e-9)
    values = steps(above)[0].get_data().values
    assert np.count_nonzero(values > 0.1) == len(np.unique((lines / 0.005).astype(int)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: {"conditions": {"minutes": cliff.AXES["minutes"]}}, "without .'frame rate, Hz'"),
        (
            lambda r: {"recording": WiredNetwork(n_neurons=12, duration=1.0).simulate(3)},
            "10 spikes",
        ),
    ],
)
def test_a_recording_that_cannot_be_shown_is_refused(recording, seen_table, change, message):
    with pytest.raises(ValueError, match=message):
        wiring_widgets.cliff_explorer(seen_table, **({"recording": recording} | change(recording)))


def test_a_method_without_a_value_leaves_its_row_empty(table, explore):
    gap = table[(table["method"] != "TE") | (table["value"] != 10)]
    _, (_, right) = explore(wiring_widgets.cliff_explorer, gap)
    assert [tick.get_text() for tick in right.get_yticklabels()] == ["GLM", "TE"]
    right.figure.draw_without_rendering()


def test_small_multiples_go_from_the_lowest_value_to_the_highest(table):
    figure = wiring_widgets.cliff_small_multiples(table, n_shown=2, labels={"frame_rate": "rate"})
    assert [ax.get_title().splitlines()[0] for ax in figure.axes] == ["rate: 3", "rate: 30"]
    one = wiring_widgets.cliff_small_multiples(table, axis="gain", chance=None)
    assert len(one.axes) == 1
    with pytest.raises(ValueError, match="got 'noise' and 3"):
        wiring_widgets.cliff_small_multiples(table, axis="noise")
    with pytest.raises(ValueError, match="n_shown at least 1"):
        wiring_widgets.cliff_small_multiples(table, n_shown=0)
    for draw in (wiring_widgets.cliff_explorer, wiring_widgets.cliff_small_multiples):
        with pytest.raises(ValueError, match=r"without \['AUPRC'\]"):
            draw(table, statistic="AUPRC")
