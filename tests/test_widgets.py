"""The explorer shows what is chosen, and the still picture shows the same."""

import io
import time

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from visualcortex import widgets


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
    assert set(controls(explorer)) == {"Stimulus", "Trial", "Neurons"}
    assert all(c.tooltip for c in controls(explorer).values())


@pytest.mark.parametrize(("control", "value"), [("Stimulus", 1), ("Trial", 2), ("Neurons", 1)])
def test_each_control_changes_the_picture_and_back(trials, control, value):
    explorer = widgets.activity_explorer(*trials, frame_rate=10, neurons_per_page=20)
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
    assert set(controls(explorer)) == {"Stimulus", "Neurons"}
    controls(explorer)["Stimulus"].value = 2


def test_it_redraws_at_once(trials):
    explorer = widgets.activity_explorer(*trials, frame_rate=10)
    start = time.process_time()
    for stimulus in (1, 2, 0, 1, 2):
        controls(explorer)["Stimulus"].value = stimulus
    assert (time.process_time() - start) / 5 < 0.2


def test_drawing_leaves_no_figure_behind(trials):
    widgets.activity_explorer(*trials, frame_rate=10)
    assert plt.get_fignums() == []


def test_small_multiples_show_the_first_trials(trials):
    real, generated, *labels = trials
    axes = widgets.activity_small_multiples(*trials, frame_rate=10, n_stimuli=2)
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
        (lambda r, g, a, b: (r, g, a, b + 9), {"frame_rate": 10}, "no stimulus in common"),
    ],
)
def test_bad_input_is_refused(trials, change, options, message):
    with pytest.raises(ValueError, match=message):
        widgets.activity_explorer(*change(*trials), **options)
