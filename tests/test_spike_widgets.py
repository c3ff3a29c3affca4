"""The explorers show the neuron, scene, method and threshold chosen, and score nothing anew."""

import io

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from visualcortex import spike_widgets, widgets

SCENE, NEURON, N = 5, 3, 16
CENTRES = np.array([0.05, 0.1, 0.15, 0.2])


@pytest.fixture(autouse=True)
def fresh():
    yield
    plt.close("all")


@pytest.fixture
def recording():
    """Counts in four bins of six neurons, for scenes 0, 2 and 5, shown 4, 3 and 5 times."""
    rng = np.random.default_rng(0)
    scenes = rng.permutation(np.repeat([0, 2, 5], [4, 3, 5]))
    counts = rng.poisson(1 + scenes[:, None, None] % 5, size=(12, 4, 6))
    neurons = pd.DataFrame({"area": ["LGd", "VISp", "VISp", "VISl", "VISl", "VISl"]})
    return counts, scenes, neurons, CENTRES, rng.random((6, 9, 8))


@pytest.fixture
def network():
    """Scores of two methods, the synapses, and the area of each neuron."""
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(N, N)) * (rng.random((N, N)) < 0.3)
    scores = {"CCG": truth + 0.1 * rng.normal(size=(N, N)), "GLM": rng.normal(size=(N, N))}
    np.fill_diagonal(truth, np.nan)
    return scores, truth, ["VISp", "LGd"] * (N // 2)


def controls(explorer):
    return {c.description: c for c in explorer.children[0].children}


def picture(explorer):
    return plt.imread(io.BytesIO(explorer.children[1].value))


@pytest.fixture
def explore(monkeypatch):
    """Make an explorer that draws no pixels, move its controls; return its axes too."""
    figures_made, view = [], spike_widgets.View

    def keep(figure, *others):
        figures_made.append(figure)
        return view(figure, *others)

    def explore(make, *arguments, **chosen):
        explorer = make(*arguments)
        for name, value in chosen.items():
            controls(explorer)[name.replace("_", " ")].value = value
        return explorer, figures_made[-1].axes

    monkeypatch.setattr(spike_widgets, "View", keep)
    monkeypatch.setattr(widgets, "_png", lambda _figure: b"")
    return explore


@pytest.mark.parametrize(
    ("make", "arguments", "values"),
    [
        ("spike_explorer", "recording", {"Scene": 2, "Neuron": 4}),
        ("threshold_explorer", "network", {"Method": "GLM", "Pairs called": 9}),
    ],
)
def test_each_control_changes_the_picture_and_back(make, arguments, values, request):
    explorer = getattr(spike_widgets, make)(*request.getfixturevalue(arguments))
    assert set(controls(explorer)) == set(values)
    assert all(c.tooltip for c in controls(explorer).values())
    before = picture(explorer)
    for name, value in values.items():
        old, controls(explorer)[name].value = controls(explorer)[name].value, value
        assert not np.array_equal(picture(explorer), before)
        controls(explorer)[name].value = old
        assert np.array_equal(picture(explorer), before)
    assert plt.get_fignums() == []


def test_trials_and_rates_are_those_of_the_scene_and_the_neuron(recording, explore):
    counts, scenes, _, _, images = recording
    _, (left, _, above, below) = explore(
        spike_widgets.spike_explorer, *recording, Scene=SCENE, Neuron=NEURON
    )
    shown = counts[scenes == SCENE, :, NEURON]
    assert np.array_equal(left.images[0].get_array(), images[SCENE])
    assert left.get_title() == "scene 5"
    assert np.array_equal(above.images[0].get_array(), shown)
    assert above.images[0].get_extent() == pytest.approx([0.025, 0.225, 5, 0])
    assert above.images[0].get_clim() == (0, counts[..., NEURON].max())
    by_scene = {s: counts[scenes == s, :, NEURON].mean(axis=0) for s in (0, 2, 5)}
    rank = 1 + sum(x.sum() > by_scene[SCENE].sum() for x in by_scene.values())
    said = f"scene 5: number {rank} of 3 by spikes, {shown.sum() / 5 / 0.2:.1f} a second"
    assert above.get_title() == f"neuron 3, VISl\n{said}"
    rate, everywhere = below.lines
    assert rate.get_ydata()[:-1] == pytest.approx(shown.mean(axis=0) / 0.05)
    assert everywhere.get_ydata()[:-1] == pytest.approx(np.mean([*by_scene.values()], 0) / 0.05)
    assert above.get_position().x0 == below.get_position().x0
    assert above.get_position().x1 == below.get_position().x1
    assert above.get_xlim() == below.get_xlim()


def test_scenes_stand_by_rank_and_those_within_one_deviation_are_marked(explore):
    # three trials a scene, one neuron: rates of 10, 12, 40 and 11 a second, the third most variable
    spikes = {0: (9, 10, 11), 1: (12, 12, 12), 2: (30, 40, 50), 4: (0, 11, 22)}
    scenes = np.repeat(list(spikes), 3)
    counts = np.repeat(np.concatenate(list(spikes.values()))[:, None, None], 2, axis=1)
    _, (ranking, *_) = explore(
        spike_widgets.spike_explorer, counts, scenes, pd.DataFrame(index=[0]), [0.5, 1.5], Scene=4
    )
    apart, alike, here = ranking.lines[-3:]
    assert (list(here.get_xdata()), list(here.get_ydata())) == ([3], [11])
    assert (list(alike.get_xdata()), list(alike.get_ydata())) == ([2, 3, 4], [12, 11, 10])
    assert (list(apart.get_xdata()), list(apart.get_ydata())) == ([1], [40])
    assert ranking.get_title() == "2 of 3 others within one s.d. over trials"


def test_each_neuron_is_offered_by_name(recording):
    explorer = spike_widgets.spike_explorer(*recording)
    assert explorer.controls["neuron"].options[:2] == (("0, LGd", 0), ("1, VISp", 1))


def test_scales_are_the_same_for_all_scenes_of_a_neuron(recording, explore):
    explorer, (_, ranking, above, below) = explore(spike_widgets.spike_explorer, *recording)
    before = above.images[0].get_clim(), below.get_ylim(), ranking.get_ylim()
    controls(explorer)["Scene"].value = SCENE
    assert (above.images[0].get_clim(), below.get_ylim(), ranking.get_ylim()) == before


def test_spikes_are_shown_without_pictures_or_areas_and_where_silent(recording, explore):
    counts, scenes, _, centres, _ = recording
    silent = counts * (np.arange(6) != NEURON)
    table = pd.DataFrame(index=range(6))
    _, axes = explore(
        spike_widgets.spike_explorer, silent, scenes, table, centres, Scene=SCENE, Neuron=NEURON
    )
    assert len(axes) == 3
    assert axes[0].get_title() == "2 of 2 others within one s.d. over trials"
    assert axes[1].get_title().startswith("neuron 3\nscene 5")
    assert axes[2].get_ylim() == (0, 1)
    axes[0].figure.draw_without_rendering()


def test_one_scene_and_one_neuron_have_nothing_to_slide(recording):
    counts, scenes, neurons, centres, _ = recording
    one = scenes == 2
    explorer = spike_widgets.spike_explorer(counts[one][..., :1], scenes[one], neurons[:1], centres)
    assert all(c.disabled for c in controls(explorer).values())


@pytest.mark.parametrize(("n_scenes", "n_shown"), [(1, 1), (2, 2), (9, 3)])
def test_small_multiples_go_from_the_strongest_scene_to_the_weakest(recording, n_scenes, n_shown):
    counts, scenes, *_ = recording
    figure = spike_widgets.spike_small_multiples(*recording, neuron=NEURON, n_scenes=n_scenes)
    grid = np.reshape(figure.axes[: 3 * n_shown], (3, n_shown))
    chosen = [int(ax.get_title().split()[1]) for ax in grid[0]]
    spikes = [counts[scenes == s, :, NEURON].sum(axis=1).mean() for s in chosen]
    assert spikes == sorted(spikes, reverse=True)
    assert len(set(chosen)) == n_shown
    for scene, ax in zip(chosen, grid[1], strict=True):
        assert np.array_equal(ax.images[0].get_array(), counts[scenes == scene, :, NEURON])
    assert len({ax.get_ylim() for ax in grid[2]}) == 1
    assert figure.get_suptitle() == "neuron 3, VISl"
    assert plt.get_fignums() == [figure.number]
    without = spike_widgets.spike_small_multiples(*recording[:4], n_scenes=n_scenes)
    assert len(without.axes) == 2 * n_shown


@pytest.mark.parametrize(
    "draw", [spike_widgets.spike_explorer, spike_widgets.spike_small_multiples]
)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, s, n, t, i: (c[1:], s, n, t, i), r"\(12, 4, 6\); got \(11, 4, 6\)"),
        (lambda c, s, n, t, i: (c, s, n[1:], t, i), r"\(12, 4, 5\)"),
        (lambda c, s, n, t, i: (c[:0], s[:0], n, t, i), r"\(0, 4, 6\)"),
        (lambda c, s, n, t, i: (c * np.nan, s, n, t, i), "none negative or missing"),
        (lambda c, s, n, t, i: (c, s, n, t[::-1], i), "evenly spaced"),
        (lambda c, s, n, t, i: (c, s, n, np.array([0, 1, 2, 4.0]), i), "evenly spaced"),
        (lambda c, s, n, t, i: (c[:, :1], s, n, t[:1], i), "two or more bins"),
        (lambda c, s, n, t, i: (c, s - 1, n, t, i), "int64 from -1. Leave out blank"),
        (lambda c, s, n, t, i: (c, s.astype(float), n, t, i), "got float64"),
        (lambda c, s, n, t, i: (c, s, n, t, i[:5]), "up to scene 5"),
        (lambda c, s, n, t, i: (c, s, n, t, i[:, None]), r"images \(scene, H, W\)"),
    ],
)
def test_recordings_that_do_not_fit_are_refused(recording, draw, change, message):
    with pytest.raises(ValueError, match=message):
        draw(*change(*recording))


def expected(scores, truth, n_called):
    """Pairs called from the largest size on, and which are linked, without the diagonal."""
    sizes = np.where(np.eye(N, dtype=bool), -1, np.abs(scores))
    called = sizes >= np.sort(sizes.ravel())[-n_called]
    return called, np.nan_to_num(truth) != 0


@pytest.mark.parametrize(("method", "n_called"), [("CCG", 30), ("GLM", 30), ("GLM", N * (N - 1))])
def test_pairs_called_are_hits_misses_and_false(network, explore, method, n_called):
    scores, truth, areas = network
    _, (pairs, quality, _) = explore(
        spike_widgets.threshold_explorer, *network, Method=method, Pairs_called=n_called
    )
    called, linked = expected(scores[method], truth, n_called)
    hits, misses, false = (np.sum(x) for x in (called & linked, linked & ~called, called & ~linked))
    said = f"{hits} hits, {misses} misses, {false} false"
    assert pairs.get_title() == f"{method}: {n_called} called\n{said}"
    order = np.argsort([a != "VISp" for a in areas], kind="stable")
    shown = pairs.images[0].get_array()[np.argsort(order)][:, np.argsort(order)]
    for number, which in ((1, called & linked), (2, linked & ~called), (3, called & ~linked)):
        assert np.array_equal(shown == number, which)
    assert [t.get_text() for t in pairs.get_yticklabels()] == ["VISp", "LGd"]
    share = linked.sum() / (N * (N - 1))
    assert quality.get_title() == (
        f"precision {hits / n_called:.2f} (by chance {share:.2f})\n"
        f"recall {hits / linked.sum():.2f} (by chance {n_called / (N * (N - 1)):.2f})"
    )


def test_curves_are_precision_and_recall_with_chance_and_the_threshold(network, explore):
    scores, truth, _ = network
    _, (_, quality, _) = explore(spike_widgets.threshold_explorer, *network, Pairs_called=40)
    mark, precision, share, here, recall, line, there, _ = quality.lines
    assert set(mark.get_xdata()) == set(here.get_xdata()) == set(there.get_xdata()) == {40}
    linked = expected(scores["CCG"], truth, 1)[1]
    for n, p, r in zip(
        precision.get_xdata(), precision.get_ydata(), recall.get_ydata(), strict=True
    ):
        called = expected(scores["CCG"], truth, n)[0]
        assert p == pytest.approx(np.mean(linked[called]))
        assert r == pytest.approx(np.mean(called[linked]))
    assert set(share.get_ydata()) == {linked.sum() / (N * (N - 1))}
    assert line.get_ydata() == pytest.approx(line.get_xdata() / (N * (N - 1)))
    at = list(precision.get_xdata()).index(40)
    assert here.get_ydata()[0] == pytest.approx(precision.get_ydata()[at])
    assert there.get_ydata()[0] == pytest.approx(recall.get_ydata()[at])


def test_strong_synapses_are_told_from_weak_ones(network, explore):
    _, truth, areas = network
    sizes = np.abs(np.nan_to_num(truth))
    half = int(np.sum(sizes[sizes > 0] >= np.median(sizes[sizes > 0])))
    explorer, (_, _, strengths) = explore(
        spike_widgets.threshold_explorer, {"by strength": sizes}, truth, areas, Pairs_called=half
    )
    missed, found = strengths.patches
    assert strengths.get_title() == "of the stronger half, 1.00 found"
    assert found.get_data().values.sum() == half
    assert missed.get_data().values.sum() == np.sum(sizes > 0)
    controls(explorer)["Pairs called"].value = 1
    assert strengths.get_title() == f"of the stronger half, {1 / half:.2f} found"


def test_a_threshold_starts_where_as_many_are_called_as_are_known(network):
    scores, truth, _ = network
    called = spike_widgets.threshold_explorer(*network).controls["called"]
    assert called.value == pytest.approx(np.sum(np.nan_to_num(truth) != 0))
    assert spike_widgets.threshold_explorer(scores).controls["called"].value == N * (N - 1) // 20


def test_where_nothing_is_known_only_the_called_are_shown(network, explore):
    scores, *_ = network
    _, (pairs, sizes) = explore(spike_widgets.threshold_explorer, scores, Pairs_called=7)
    assert pairs.get_title() == "CCG: 7 called\nwhich are right is not known"
    assert np.sum(pairs.images[0].get_array() == 1) == 7
    largest = np.sort(np.abs(scores["CCG"][~np.eye(N, dtype=bool)]))[::-1]
    assert sizes.get_title() == f"size at the threshold {largest[6]:.3g}"
    (legend,) = pairs.figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["called"]


def test_pairs_without_a_score_are_neither_called_nor_missed(network, explore):
    scores, truth, _ = network
    few = np.full((N, N), np.nan)
    few[0, [1, 4]] = 0.5, -2.0
    truth = np.zeros((N, N))
    truth[0, 4] = truth[5, 6] = 1
    explorer, (pairs, *_) = explore(spike_widgets.threshold_explorer, {"few": few}, truth)
    assert pairs.get_title() == "few: 2 called\n1 hits, 0 misses, 1 false"
    controls(explorer)["Pairs called"].value = 1
    assert pairs.get_title() == "few: 1 called\n1 hits, 0 misses, 0 false"


def test_a_network_without_synapses_has_false_calls_only(network, explore):
    scores, truth, _ = network
    _, (pairs, quality, strengths) = explore(
        spike_widgets.threshold_explorer, scores, np.zeros((N, N)), Pairs_called=5
    )
    assert pairs.get_title().endswith("0 hits, 0 misses, 5 false")
    assert quality.get_title().startswith("precision 0.00 (by chance 0.00)")
    pairs.figure.draw_without_rendering()


def test_small_multiples_have_a_column_a_method(network):
    scores, truth, _ = network
    n_known = np.sum(np.nan_to_num(truth) != 0)
    figure = spike_widgets.threshold_small_multiples(*network)
    above = figure.axes[:2]
    assert [ax.get_title().split("\n")[0] for ax in above] == [
        f"{name}: {n_known} called" for name in scores
    ]
    assert all(ax.get_title().startswith("precision") for ax in figure.axes[2:])
    without = spike_widgets.threshold_small_multiples(scores, n_called=3)
    assert [np.sum(ax.images[0].get_array() == 1) for ax in without.axes[:2]] == [3, 3]


@pytest.mark.parametrize(
    "draw", [spike_widgets.threshold_explorer, spike_widgets.threshold_small_multiples]
)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, t, a: ({}, t, a), r"got {'truth': \(16, 16\)}"),
        (lambda s, t, a: ({**s, "GLM": s["GLM"][1:]}, t, a), r"'GLM': \(15, 16\)"),
        (lambda s, t, a: (s, t[1:, 1:], a), r"'truth': \(15, 15\)"),
        (lambda s, t, a: (s, t, a[1:]), "and 15 areas"),
        (lambda s, t, a: ({"one": np.ones((1, 1))}, None, None), "two or more neurons"),
        (lambda s, t, a: ({**s, "GLM": s["GLM"] + np.inf}, t, a), r"those of \['GLM'\]"),
        (lambda s, t, a: ({**s, "GLM": s["GLM"] * np.nan}, t, a), r"\['GLM'\] have none"),
    ],
)
def test_scores_that_do_not_fit_are_refused(network, draw, change, message):
    with pytest.raises(ValueError, match=message):
        draw(*change(*network))


def test_other_choices_are_refused(recording, network):
    with pytest.raises(ValueError, match="neuron must be one of"):
        spike_widgets.spike_small_multiples(*recording, neuron=N)
    with pytest.raises(ValueError, match="n_scenes must be at least 1"):
        spike_widgets.spike_small_multiples(*recording, n_scenes=0)
    for n_called in (0, N * N):
        with pytest.raises(ValueError, match=f"1 to {N * (N - 1)}, the pairs scored; got"):
            spike_widgets.threshold_small_multiples(*network, n_called=n_called)
