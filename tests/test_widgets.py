"""The explorer shows what is chosen, and the still picture shows the same."""

import io
import time

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from visualcortex import widgets
from visualcortex.voxels import VoxelGrid, occupancy, splat_weights, voxelise


@pytest.fixture
def trials():
    rng = np.random.default_rng(0)
    real = (rng.random((12, 8, 25)) < 0.2).astype(float)
    generated = (rng.random((9, 8, 25)) < 0.2).astype(float)
    return real, generated, np.arange(12) % 3, np.arange(9) % 3


def controls(explorer):
    return {c.description: c for c in explorer.children[0].children}


def picture(explorer):
    return plt.imread(io.BytesIO(explorer.children[1].value))


def test_every_control_is_described(trials):
    explorer = widgets.activity_explorer(*trials, frame_rate=10)
    assert set(controls(explorer)) == {"Condition", "Trial", "Neurons"}
    assert all(c.tooltip for c in controls(explorer).values())


@pytest.mark.parametrize(
    ("control", "value"), [("Condition", 1), ("Trial", 2), ("Written by", "B"), ("Neurons", 1)]
)
def test_each_control_changes_the_picture_and_back(trials, control, value):
    real, generated, *labels = trials
    written = {"A": generated, "B": generated[::-1]}
    explorer = widgets.activity_explorer(real, written, *labels, frame_rate=10, neurons_per_page=20)
    before = picture(explorer)
    chosen = controls(explorer)[control]
    old, chosen.value = chosen.value, value
    assert not np.array_equal(picture(explorer), before)
    chosen.value = old
    assert np.array_equal(picture(explorer), before)


def test_the_trials_of_the_set_with_fewer_can_be_chosen(trials):
    explorer = widgets.activity_explorer(*trials, frame_rate=10)
    assert controls(explorer)["Trial"].max == 2


def test_without_time_there_is_no_trial_to_choose(trials):
    real, generated, *labels = trials
    explorer = widgets.activity_explorer(real[:, 0], generated[:, 0], *labels)
    assert set(controls(explorer)) == {"Condition", "Neurons"}
    controls(explorer)["Condition"].value = 2
    line = explorer.figure.axes[2].lines[0]
    np.testing.assert_allclose(line.get_ydata(), real[2::3, 0].mean(axis=1))


def test_raster_and_rate_are_those_of_the_chosen_trial(trials):
    real, generated, *labels = trials
    written = {"A": 1 - generated, "B": generated}
    explorer = widgets.activity_explorer(real, written, *labels, frame_rate=10, neurons_per_page=20)
    for name, value in {"Condition": 1, "Trial": 2, "Written by": "B", "Neurons": 1}.items():
        controls(explorer)[name].value = value
    above, below = explorer.figure.axes[:2], explorer.figure.axes[2:]
    for upper, lower, trial, name in zip(
        above, below, (real[7], generated[7]), ("recorded", "B"), strict=True
    ):
        rate = trial[:, 20:].mean(axis=1)
        assert np.array_equal(upper.images[0].get_array(), trial[:, 20:].T)
        np.testing.assert_allclose(lower.lines[0].get_ydata(), rate)
        expected = f"share active {rate.mean():.2f}, at most {rate.max():.2f}"
        assert upper.get_title() == f"{name}, condition 1, trial 2\n{expected}"
        assert len(lower.collections) == 1  # the band of all trials, once


def test_it_redraws_at_once(trials):
    explorer = widgets.activity_explorer(*trials, frame_rate=10)
    start = time.process_time()
    for condition in (1, 2, 0, 1, 2):
        controls(explorer)["Condition"].value = condition
    assert (time.process_time() - start) / 5 < 0.2


def test_drawing_leaves_no_figure_behind(trials):
    widgets.activity_explorer(*trials, frame_rate=10)
    assert plt.get_fignums() == []


def test_small_multiples_show_the_first_trials(trials):
    real, generated, *labels = trials
    axes = widgets.activity_small_multiples(*trials, frame_rate=10, n_conditions=2)
    assert axes.shape == (2, 2)
    assert np.array_equal(axes[0, 1].images[0].get_array(), real[1].T)
    assert np.array_equal(axes[1, 1].images[0].get_array(), generated[1].T)
    plt.close("all")


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda r, g, a, b: (r, g[:, :, 1:], a, b), {"frame_rate": 10}, "alike"),
        (lambda r, g, a, b: (r, g, a[1:], b), {"frame_rate": 10}, "one label a trial"),
        (lambda r, g, a, b: (r, g, a, b), {}, "frame_rate"),
        (lambda r, g, a, b: (r, g, a, b + 9), {"frame_rate": 10}, "no condition in common"),
        (lambda r, g, a, b: (r, {"recorded": g}, a, b), {"frame_rate": 10}, "called recorded"),
        (lambda r, g, a, b: (r, {}, a, b), {"frame_rate": 10}, "a set or more"),
    ],
)
def test_bad_input_is_refused(trials, change, options, message):
    with pytest.raises(ValueError, match=message):
        widgets.activity_explorer(*change(*trials), **options)


@pytest.fixture
def shown():
    """Responses of neurons in three planes to five pictures."""
    rng = np.random.default_rng(1)
    positions = np.column_stack([900 * rng.random((80, 2)), 100 + 33.0 * rng.integers(3, size=80)])
    return rng.normal(size=(5, 80)), positions, rng.normal(size=(5, 6, 8))


@pytest.mark.parametrize(
    ("control", "value"), [("Picture", 2), ("Voxel", 200), ("Kernel", "gaussian"), ("Plane", 1)]
)
def test_each_control_of_the_voxels_changes_the_picture_and_back(shown, control, value):
    explorer = widgets.voxel_explorer(*shown, sizes_um=(100, 200))
    assert set(controls(explorer)) == {"Picture", "Voxel", "Kernel", "Plane"}
    assert all(c.tooltip for c in controls(explorer).values())
    before = picture(explorer)
    chosen = controls(explorer)[control]
    old, chosen.value = chosen.value, value
    assert not np.array_equal(picture(explorer), before)
    chosen.value = old
    assert np.array_equal(picture(explorer), before)
    assert plt.get_fignums() == []


def test_nothing_is_computed_when_a_control_is_moved(shown, monkeypatch):
    explorer = widgets.voxel_explorer(*shown, sizes_um=(100, 200))

    def refuse(*_args, **_options):
        raise AssertionError("computed again")

    for name in ("voxelise", "splat_weights"):
        monkeypatch.setattr(widgets, name, refuse)
    for control, value in (("Voxel", 200), ("Kernel", "gaussian"), ("Picture", 4), ("Plane", 2)):
        controls(explorer)[control].value = value


@pytest.fixture
def scores():
    """Scores of two sizes that fall, and their intervals."""
    curves = {
        "bin": [(0.4, 0.35, 0.45), (0.2, 0.15, 0.25)],
        "gaussian": [(0.3, 0.25, 0.35), (0.1, 0.05, 0.15)],
    }
    return widgets.VoxelScores(curves, "share identified", chance=0.01, single=0.5)


@pytest.mark.parametrize(
    ("size", "kernel", "value"),
    [(100, "bin", 0.4), (200, "bin", 0.2), (100, "gaussian", 0.3), (200, "gaussian", 0.1)],
)
def test_the_score_of_the_map_that_is_shown_is_marked(shown, scores, size, kernel, value):
    explorer = widgets.voxel_explorer(*shown, sizes_um=(100, 200), scores=scores)
    explorer.controls["size"].value, explorer.controls["kernel"].value = size, kernel
    ax = scores_of(explorer)
    ring = ax.lines[-1]
    assert (list(ring.get_xdata()), list(ring.get_ydata())) == ([size], [value])
    interval = f"(95 % interval {value - 0.05:.3f} to {value + 0.05:.3f})"
    assert titles(ax) == f"share identified: {value:.3f}\n{interval}"


def scores_of(explorer):
    (ax,) = (ax for ax in explorer.figure.axes if ax.get_ylabel() == "share identified")
    return ax


def titles(ax):
    return "".join(ax.get_title(where) for where in ("left", "center", "right"))


def test_chance_and_single_neurons_are_lines_among_the_scores(shown, scores):
    explorer = widgets.voxel_explorer(*shown, sizes_um=(100, 200), scores=scores)
    ax = scores_of(explorer)
    lines = {line.get_label(): line for line in ax.lines}
    assert np.allclose(lines["chance"].get_ydata(), 0.01)
    assert np.allclose(lines["single neurons"].get_ydata(), 0.5)
    assert np.allclose(lines["Gaussian means"].get_ydata(), [0.3, 0.1])
    bottom, top = ax.get_ylim()
    assert bottom == 0
    assert top > 0.5


def test_pictures_go_by_their_names(shown):
    explorer = widgets.voxel_explorer(*shown, sizes_um=(100,), names=list("abcde"))
    explorer.controls["image"].value = 3
    assert titles(explorer.figure.axes[0]) == "d"
    assert explorer.controls["image"].label == "d"


def test_a_picture_with_scores_is_redrawn_at_once(shown, scores):
    explorer = widgets.voxel_explorer(*shown, sizes_um=(100, 200), scores=scores)
    start = time.process_time()
    for size in (200, 100, 200, 100, 200):
        explorer.controls["size"].value = size
    assert (time.process_time() - start) / 5 < 0.2


def test_voxels_of_every_size_are_a_row(shown):
    responses, positions, pictures = shown
    axes = widgets.voxel_small_multiples(*shown, sizes_um=(100, 300), image=3, plane=1)
    assert axes.shape == (2, 2)
    drawn = axes[0, 0].figure.axes[0].images[0]
    assert np.array_equal(drawn.get_array(), pictures[3])
    for row, size in zip(axes, (100, 300), strict=True):
        grid = VoxelGrid.covering(positions, (size, size, 33))
        neurons = occupancy(positions, grid).neurons
        share = f"filled: {np.mean(neurons[1] > 0):.0%} here, {np.mean(neurons > 0):.0%} of all"
        assert share in row[0].get_title()
        for ax, kernel in zip(row, ("bin", "gaussian"), strict=True):
            width = {"width_um": (size / 2, size / 2, 16.5)} if kernel == "gaussian" else {}
            weights = splat_weights(positions, grid, kernel=kernel, **width)
            expected = voxelise(responses[[3]], weights)
            plane = ax.images[0].get_array()
            there = ~np.ma.getmaskarray(plane)
            assert np.allclose(plane[there], expected[0, 1][there])
            if kernel == "bin":
                assert np.array_equal(there, neurons[1] > 0)
    plt.close("all")


def test_a_neuron_is_drawn_where_it_is(shown):
    _, positions, pictures = shown
    responses = np.zeros((5, 80))
    responses[0, 7] = 1
    plane = int(round((positions[7, 2] - 100) / 33))
    axes = widgets.voxel_small_multiples(
        responses, positions, pictures, sizes_um=(30,), plane=plane
    )
    image = axes[0, 0].images[0]
    left, right, bottom, top = image.get_extent()
    n_rows, n_columns = image.get_array().shape
    row, column = np.argwhere(image.get_array().filled(0) > 0)[0]
    x = left + (column + 0.5) * (right - left) / n_columns
    y = top + (row + 0.5) * (bottom - top) / n_rows
    assert np.abs([x, y] - positions[7, :2]).max() <= 15
    plt.close("all")


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda r, p, i: (r[:, 1:], p, i), {}, r"pictures \(picture, H, W\)"),
        (lambda r, p, i: (r[1:], p, i), {}, "Select the responses to the pictures"),
        (lambda r, p, i: (r, p, i[0]), {}, r"pictures \(picture, H, W\)"),
        (lambda r, p, i: (r, p, i), {"names": ["one"]}, "a name for each of 5 pictures; got 1"),
        (
            lambda r, p, i: (r, p, i),
            {"scores": widgets.VoxelScores({"bin": np.zeros((4, 3))}, "share")},
            r"each kernel \(bin, gaussian\)",
        ),
        (
            lambda r, p, i: (r, p, i),
            {"scores": widgets.VoxelScores(dict.fromkeys(widgets.KERNELS, np.zeros(4)), "share")},
            r"\(score, low, high\) for each of 4 sizes",
        ),
    ],
)
def test_voxels_that_do_not_fit_are_refused(shown, change, options, message):
    with pytest.raises(ValueError, match=message):
        widgets.voxel_explorer(*change(*shown), **options)


@pytest.fixture
def ascents():
    """Images and responses of two neurons, three norms and five steps."""
    rng = np.random.default_rng(3)
    responses = {name: 10 * rng.random((2, 3, 5)) for name in ("truth", "model")}
    norms, steps = (2.5, 5.0, 10.0), (0, 1, 3, 10, 30)
    return rng.normal(size=(2, 3, 5, 6, 8)), responses, ("simple 12", "complex 3"), norms, steps


@pytest.mark.parametrize(("control", "value"), [("Neuron", 1), ("Norm", 2), ("Steps", 1)])
def test_each_control_of_the_ascent_changes_the_picture_and_back(ascents, control, value):
    explorer = widgets.synthesis_explorer(*ascents)
    assert set(controls(explorer)) == {"Neuron", "Norm", "Steps"}
    assert all(c.tooltip for c in controls(explorer).values())
    before = picture(explorer)
    chosen = controls(explorer)[control]
    old, chosen.value = chosen.value, value
    assert not np.array_equal(picture(explorer), before)
    chosen.value = old
    assert np.array_equal(picture(explorer), before)
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("place", "seen"),
    [((1, 2, 3), True), ((1, 2, 0), False), ((1, 0, 3), False), ((0, 2, 3), False)],
)
def test_the_image_is_that_of_the_neuron_norm_and_step_chosen(ascents, place, seen):
    images, *others = ascents
    changed = images.copy()
    # within the limits of the scale, which belongs to all steps
    changed[place] = -images[place]
    explorers = [widgets.synthesis_explorer(x, *others) for x in (images, changed)]
    for explorer in explorers:
        for control, value in (("Neuron", 1), ("Norm", 2), ("Steps", 3)):
            controls(explorer)[control].value = value
    drawn = [explorer.figure.axes[0].images[0].get_array() for explorer in explorers]
    assert np.array_equal(*drawn) != seen


@pytest.mark.parametrize(
    ("name", "place", "seen"),
    [
        ("model", (1, 2, 0), True),
        ("truth", (1, 2, 4), True),
        ("model", (1, 0, 3), True),
        ("model", (1, 0, 2), False),
        ("truth", (0, 2, 3), False),
    ],
)
def test_responses_along_steps_and_along_norms_are_seen(ascents, name, place, seen):
    images, responses, *others = ascents
    changed = {k: v.copy() for k, v in responses.items()}
    changed[name][place] += 5
    explorers = [widgets.synthesis_explorer(images, r, *others) for r in (responses, changed)]
    for explorer in explorers:
        for control, value in (("Neuron", 1), ("Norm", 2), ("Steps", 3)):
            controls(explorer)[control].value = value
    drawn = [
        [line.get_ydata() for ax in explorer.figure.axes[1:3] for line in ax.lines[:2]]
        for explorer in explorers
    ]
    assert all(map(np.array_equal, *drawn)) != seen


def test_marks_stand_at_the_norm_and_the_step_chosen(ascents):
    explorer = widgets.synthesis_explorer(*ascents)
    for control, value in (("neuron", 1), ("norm", 2), ("step", 3)):
        explorer.controls[control].value = value
    image, by_norm, by_step = explorer.figure.axes[:3]
    assert list(by_norm.lines[-1].get_xdata()) == [10.0, 10.0]
    assert list(by_step.lines[-1].get_xdata()) == [10, 10]
    responses = ascents[1]
    assert np.array_equal(by_norm.lines[0].get_ydata(), responses["truth"][1, :, 3])
    assert np.array_equal(by_step.lines[1].get_ydata(), responses["model"][1, 2])
    assert titles(image) == "complex 3, norm 10, step 10"


def test_the_bar_below_an_image_tells_its_scale(ascents):
    explorer = widgets.synthesis_explorer(*ascents)
    explorer.controls["norm"].value = 1
    limit = np.abs(ascents[0][0, 1]).max()
    assert np.allclose(explorer.figure.axes[-1].get_xlim(), (-limit, limit))


def test_an_ascent_is_redrawn_at_once(ascents):
    explorer = widgets.synthesis_explorer(*ascents)
    start = time.process_time()
    for norm in (1, 2, 0, 1, 2):
        explorer.controls["norm"].value = norm
    assert (time.process_time() - start) / 5 < 0.2


def test_an_ascent_of_one_norm_and_step_has_nothing_to_slide(ascents):
    images, responses, neurons, *_ = ascents
    alone = {"model": responses["model"][:, :1, :1]}
    explorer = widgets.synthesis_explorer(images[:, :1, :1], alone, neurons, (5,), (30,))
    disabled = {name: control.disabled for name, control in controls(explorer).items()}
    assert disabled == {"Neuron": False, "Norm": True, "Steps": True}


def test_a_row_is_a_norm_and_a_column_a_step(ascents):
    images, responses, _, norms, steps = ascents
    axes = widgets.synthesis_small_multiples(*ascents, neuron=1, n_shown=3)
    assert axes.shape == (3, 3)
    assert axes[0, 0].figure.get_suptitle() == "complex 3: response (spikes a presentation)"
    for (row, column), ax in np.ndenumerate(axes):
        step = (0, 2, 4)[column]
        image, limit = ax.images[0], np.abs(images[1, row]).max()
        assert np.array_equal(image.get_array(), images[1, row, step])
        assert image.get_clim() == (-limit, limit)
        expected = [f"{name} {values[1, row, step]:.3g}" for name, values in responses.items()]
        assert ax.get_xlabel().split("\n") == expected
    assert [ax.get_ylabel() for ax in axes[:, 0]] == [f"norm {norm:g}" for norm in norms]
    assert [ax.get_title() for ax in axes[0]] == [f"step {steps[k]}" for k in (0, 2, 4)]
    plt.close("all")


@pytest.mark.parametrize(("n_shown", "n_columns"), [(1, 1), (2, 2), (5, 5), (9, 5)])
def test_the_last_step_is_always_shown(ascents, n_shown, n_columns):
    axes = widgets.synthesis_small_multiples(*ascents, n_shown=n_shown)
    assert axes.shape == (3, n_columns)
    assert np.array_equal(axes[2, -1].images[0].get_array(), ascents[0][0, 2, 4])
    plt.close("all")


@pytest.mark.parametrize("draw", [widgets.synthesis_explorer, widgets.synthesis_small_multiples])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i, r, a, b, c: (i[..., 0], r, a, b, c), r"\(neuron, norm, step, H, W\)"),
        (lambda i, r, a, b, c: (i, r, a[1:], b, c), r"responses \(1, 3, 5\)"),
        (lambda i, r, a, b, c: (i, r, a, b, (*c, 90)), r"responses \(2, 3, 6\)"),
        (lambda i, r, a, b, c: (i, {**r, "model": i[..., 0, 0].T}, a, b, c), r"'model': \(5, 3, 2"),
        (lambda i, r, a, b, c: (i, {}, a, b, c), "no responses"),
        (lambda i, r, a, b, c: (i + np.nan, r, a, b, c), "must be finite"),
        (lambda i, r, a, b, c: (i, {"model": r["model"] + np.inf}, a, b, c), "must be finite"),
        (lambda i, r, a, b, c: (i, r, a, (5, 2.5, 10), c), "norms must ascend from above 0"),
        (lambda i, r, a, b, c: (i, r, a, (0, 2.5, 10), c), "norms must ascend from above 0"),
    ],
)
def test_ascents_that_do_not_fit_are_refused(ascents, draw, change, message):
    with pytest.raises(ValueError, match=message):
        draw(*change(*ascents))


@pytest.mark.parametrize("options", [{"neuron": 2}, {"neuron": -1}, {"n_shown": 0}])
def test_neurons_and_columns_that_are_not_there_are_refused(ascents, options):
    with pytest.raises(ValueError, match=r"neuron must be one of 0 ... 1 and n_shown at least 1"):
        widgets.synthesis_small_multiples(*ascents, **options)
