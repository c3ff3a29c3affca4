"""The explorers show the neuron, scene and method chosen, and count and score nothing anew."""

import io

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from visualcortex import figures, spike_widgets, widgets

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
    """Scores of two methods, the synapses, and where the neurons are."""
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(N, N)) * (rng.random((N, N)) < 0.3)
    scores = {"CCG": truth + 0.1 * rng.normal(size=(N, N)), "GLM": rng.normal(size=(N, N))}
    np.fill_diagonal(truth, np.nan)
    places = 500 * rng.random((N, 2))
    neurons = pd.DataFrame(places, columns=["x_um", "y_um"]).assign(area="VISp")
    return scores, truth, neurons


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
            controls(explorer)[name].value = value
        return explorer, figures_made[-1].axes

    monkeypatch.setattr(spike_widgets, "View", keep)
    monkeypatch.setattr(widgets, "_png", lambda _figure: b"")
    return explore


@pytest.mark.parametrize(
    ("make", "arguments", "values"),
    [
        ("spike_explorer", "recording", {"Scene": 2, "Neuron": 4}),
        ("wiring_explorer", "network", {"Method": "GLM", "Neuron": 4, "Direction": "sources"}),
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
    _, (left, above, below) = explore(
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
    assert above.get_title() == f"neuron 3, VISl\nscene 5: number {rank} of 3 by spikes"
    rate, everywhere = below.lines
    assert rate.get_ydata()[:-1] == pytest.approx(shown.mean(axis=0) / 0.05)
    assert everywhere.get_ydata()[:-1] == pytest.approx(np.mean([*by_scene.values()], 0) / 0.05)
    assert above.get_position().x0 == below.get_position().x0
    assert above.get_position().x1 == below.get_position().x1
    assert above.get_xlim() == below.get_xlim()


def test_scales_are_the_same_for_all_scenes_of_a_neuron(recording, explore):
    explorer, (_, above, below) = explore(spike_widgets.spike_explorer, *recording)
    before = above.images[0].get_clim(), below.get_ylim()
    controls(explorer)["Scene"].value = SCENE
    assert (above.images[0].get_clim(), below.get_ylim()) == before


def test_spikes_are_shown_without_pictures_or_areas_and_where_silent(recording, explore):
    counts, scenes, _, centres, _ = recording
    silent = counts * (np.arange(6) != NEURON)
    table = pd.DataFrame(index=range(6))
    _, axes = explore(
        spike_widgets.spike_explorer, silent, scenes, table, centres, Scene=SCENE, Neuron=NEURON
    )
    assert len(axes) == 2
    assert axes[0].get_title().startswith("neuron 3\nscene 5")
    assert axes[1].get_ylim() == (0, 1)
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


@pytest.mark.parametrize("direction", ["targets", "sources"])
def test_bars_are_the_largest_scores_with_the_synapses_among_them_marked(
    network, explore, direction
):
    scores, truth, _ = network
    _, (bars, _) = explore(
        spike_widgets.wiring_explorer, *network, Neuron=NEURON, Direction=direction
    )
    by_source = direction == "targets"
    values, weights = (x[NEURON] if by_source else x[:, NEURON] for x in (scores["CCG"], truth))
    others = np.delete(np.arange(N), NEURON)
    best = others[np.argsort(-np.abs(values[others]))][:12]
    assert [t.get_text() for t in bars.get_yticklabels()] == [f"neuron {k}, VISp" for k in best]
    drawn = {round(b.get_y() + b.get_height() / 2): b for b in bars.patches}
    for row, k in enumerate(best):
        assert drawn[row].get_width() == values[k]
        assert (drawn[row].get_alpha() < 1) == (weights[k] == 0)
        colour = figures.GENERATED if values[k] > 0 else figures.REAL
        assert matplotlib.colors.same_color(drawn[row].get_facecolor()[:3], colour)
    marks = {line.get_marker(): set(line.get_ydata()) for line in bars.lines[:2]}
    assert marks == {
        "^": set(np.flatnonzero(weights[best] > 0)),
        "v": set(np.flatnonzero(weights[best] < 0)),
    }
    found, by_chance = np.sum(weights[best] != 0), 12 * np.mean(weights[others] != 0)
    title = f"CCG\n{found} of 12 are synapses, {by_chance:.1f} by chance"
    assert bars.get_title() == title


def test_the_map_has_a_line_to_each_partner(network, explore):
    scores, _, neurons = network
    _, (_, places) = explore(spike_widgets.wiring_explorer, *network, Neuron=NEURON)
    every, *lines = places.lines
    x, y = neurons[["x_um", "y_um"]].to_numpy().T
    assert np.array_equal(every.get_xdata(), x)
    values = np.abs(np.delete(scores["CCG"][NEURON], NEURON))
    assert len(lines) == 12
    assert all((line.get_xdata()[0], line.get_ydata()[0]) == (x[NEURON], y[NEURON])
               for line in lines)  # fmt: skip
    widths = [line.get_linewidth() for line in lines]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] == pytest.approx(0.4 + 2.2 * np.sort(values)[-12] / values.max())
    assert (places.get_xlabel(), places.get_ylabel()) == ("x (µm)", "y (µm)")
    assert places.get_ylim()[0] > places.get_ylim()[1]
    assert places.get_title() == "neuron 3, VISp (star): whom it drives"


def test_without_truth_and_places_there_are_only_bars(network, explore):
    scores, *_ = network
    explorer, axes = explore(spike_widgets.wiring_explorer, scores, Neuron=NEURON)
    (bars,) = axes
    assert bars.get_title() == "CCG"
    assert {bar.get_alpha() for bar in bars.patches} == {1.0}
    assert all(len(line.get_xdata()) == 0 for line in bars.lines[:2])
    (legend,) = bars.figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["positive score", "negative score"]
    controls(explorer)["Method"].value = "GLM"
    assert bars.get_title() == "GLM"


def test_pairs_without_a_score_are_not_shown(network, explore):
    scores, truth, neurons = network
    few = np.full((N, N), np.nan)
    few[NEURON, [1, 4]] = 0.5, -2.0
    few[NEURON, NEURON] = 9.0
    explorer, (bars, _) = explore(
        spike_widgets.wiring_explorer, {"few": few}, truth, neurons, Neuron=NEURON
    )
    assert [t.get_text()[:8] for t in bars.get_yticklabels()] == ["neuron 4", "neuron 1"]
    controls(explorer)["Neuron"].value = 0
    assert list(bars.get_yticklabels()) == []
    assert "0 of 0 are synapses" in bars.get_title()


def test_small_multiples_have_a_panel_a_method(network):
    figure = spike_widgets.wiring_small_multiples(*network, neuron=NEURON, direction="sources")
    assert [ax.get_title().split("\n")[0] for ax in figure.axes] == ["CCG", "GLM"]
    assert figure.get_suptitle() == "neuron 3, VISp: who drives it"
    column = np.delete(network[0]["GLM"][:, NEURON], NEURON)
    widths = sorted(abs(bar.get_width()) for bar in figure.axes[1].patches)
    assert widths == pytest.approx(np.sort(np.abs(column))[-12:])
    more = {str(k): network[0]["GLM"] for k in range(4)}
    assert len(spike_widgets.wiring_small_multiples(more).axes) == 4


@pytest.mark.parametrize(
    "draw", [spike_widgets.wiring_explorer, spike_widgets.wiring_small_multiples]
)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, t, n: ({}, t, n), r"got {'truth': \(16, 16\)}"),
        (lambda s, t, n: ({**s, "GLM": s["GLM"][1:]}, t, n), r"'GLM': \(15, 16\)"),
        (lambda s, t, n: (s, t[1:, 1:], n), r"'truth': \(15, 15\)"),
        (lambda s, t, n: (s, t, n[1:]), "and 15 rows"),
        (lambda s, t, n: ({"one": np.ones((1, 1))}, None, None), "two or more neurons"),
        (lambda s, t, n: ({**s, "GLM": s["GLM"] + np.inf}, t, n), r"those of \['GLM'\]"),
    ],
)
def test_scores_that_do_not_fit_are_refused(network, draw, change, message):
    with pytest.raises(ValueError, match=message):
        draw(*change(*network))


def test_other_choices_are_refused(recording, network):
    for draw, arguments in (
        (spike_widgets.spike_small_multiples, recording),
        (spike_widgets.wiring_small_multiples, network),
    ):
        with pytest.raises(ValueError, match="neuron must be one of"):
            draw(*arguments, neuron=N)
    with pytest.raises(ValueError, match="n_scenes must be at least 1"):
        spike_widgets.spike_small_multiples(*recording, n_scenes=0)
    with pytest.raises(ValueError, match="got 'both'"):
        spike_widgets.wiring_small_multiples(*network, direction="both")
