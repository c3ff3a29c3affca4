"""Figures of populations show what they are given, between the marks and with their units."""

from __future__ import annotations

import subprocess
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from visualcortex import evaluation as ev
from visualcortex import figures
from visualcortex import population_figures as pictures


@pytest.fixture(autouse=True)
def fresh():
    with matplotlib.rc_context():
        yield
        plt.close("all")


@pytest.fixture
def table():
    """Two statistics with a place for two models, one without, one beyond the limits."""
    rows = [
        ("rates", "GAN", np.nan, np.nan, np.nan),
        ("rates", "VAE", np.nan, np.nan, np.nan),
        ("pairs", "GAN", 0.3, 0.1, 0.6),
        ("pairs", "VAE", 0.8, 0.5, 0.9),
        ("lags", "GAN", 5.0, 1.2, 9.0),
        ("lags", "VAE", -3.0, -4.0, 0.2),
    ]
    return pd.DataFrame(rows, columns=["statistic", "model", "placement", "low", "high"])


def offsets(ax, label):
    """Where the dots of a model are."""
    (dots,) = [c for c in ax.collections if c.get_label() == label]
    return np.asarray(dots.get_offsets())


def test_importing_changes_no_setting():
    code = (
        "import matplotlib; matplotlib.use('Agg'); import matplotlib.pyplot as plt\n"
        "before = dict(plt.rcParams)\n"
        "import visualcortex.population_figures\n"
        "assert dict(plt.rcParams) == before\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_models_stand_between_the_marks(table):
    figures.use_style()
    ax = pictures.placement_plot(table, title="places")
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["pairs", "lags"]
    gan, vae = offsets(ax, "GAN"), offsets(ax, "VAE")
    np.testing.assert_allclose([gan[0, 0], vae[0, 0]], [0.3, 0.8])
    assert -0.5 < gan[0, 1] < vae[0, 1] < 0.5
    marks = {line.get_label(): line for line in ax.lines}
    assert marks["recording itself"].get_xdata()[0] == 0
    assert marks["trials shuffled"].get_xdata()[0] == 1
    assert marks["recording itself"].get_color() == figures.CEILING
    assert marks["trials shuffled"].get_color() == figures.CHANCE
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["recording itself", "trials shuffled", "GAN", "VAE"]
    assert ax.get_title(loc="left") == "places"
    assert "0: recording, 1: shuffled" in ax.get_xlabel()
    ax.figure.canvas.draw()


def test_intervals_are_drawn_to_the_border_and_dots_beyond_it_as_arrows(table):
    limits = (-0.5, 1.5)
    ax = pictures.placement_plot(table, limits=limits)
    lines = [
        path.vertices[:, 0].tolist()
        for c in ax.collections
        if hasattr(c, "get_segments")
        for path in c.get_paths()
    ]
    assert lines == [[0.1, 0.6], [1.2, 1.5], [0.5, 0.9], [-0.5, 0.2]]
    assert len(offsets(ax, "GAN")) == len(offsets(ax, "VAE")) == 1
    arrows = [np.asarray(c.get_offsets()) for c in ax.collections
              if not hasattr(c, "get_segments") and c.get_label().startswith("_")]  # fmt: skip
    places = sorted(row[0] for part in arrows for row in part)
    assert places == list(limits)


def test_models_differ_in_colour_and_marker_and_none_is_recorded_blue(table):
    names = list("abcde")
    wide = pd.concat([table[table["model"] == "GAN"].assign(model=m) for m in names])
    ax = pictures.placement_plot(wide)
    dots = [c for c in ax.collections if c.get_label() in names]
    colours = [to_hex(c.get_facecolor()[0]) for c in dots]
    shapes = {tuple(c.get_paths()[0].vertices.ravel().round(3)) for c in dots}
    assert len(set(colours)) == len(shapes) == 5
    assert figures.REAL not in colours


def test_the_placement_of_real_numbers_can_be_drawn():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)

    def trials():
        latent = rng.normal(size=(40, 1, 1))
        return (rng.normal(size=(40, 6, 8)) < latent - 0.2).astype(float), labels

    table = ev.placement({"model": [trials()]}, trials(), real=trials(), rng=rng, n_resamples=20)
    ax = pictures.placement_plot(table, ax=plt.subplots()[1])
    placed = table[table["reason"] == ""]
    assert len(ax.get_yticks()) == len(placed) > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="low"), r"columns \['low'\] are missing"),
        (lambda t: t[t["statistic"] == "rates"], "need a placement"),
        (
            lambda t: pd.concat([t.assign(model=f"{k}") for k in range(6)]),
            "1 to 5 models",
        ),
    ],
)
def test_tables_without_places_are_refused(table, change, message):
    with pytest.raises(ValueError, match=message):
        pictures.placement_plot(change(table))


def test_counts_stand_on_a_logarithmic_axis_and_those_never_seen_leave_a_gap():
    seen = np.array([0.6, 0.3, 0.0, 0.1])
    band = (seen, seen * 0.5, seen * 2)
    ax = pictures.count_plot({"recorded": band, "generated": np.full(4, 0.25)})
    assert ax.get_yscale() == "log"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("active neurons in a frame", "share of frames")
    recorded = next(line for line in ax.lines if line.get_label() == "recorded")
    np.testing.assert_array_equal(recorded.get_xdata(), np.arange(4))
    np.testing.assert_array_equal(recorded.get_ydata(), [0.6, 0.3, np.nan, 0.1])
    assert recorded.get_color() == figures.REAL
    ax.figure.canvas.draw()


def test_counts_of_other_populations_are_refused():
    with pytest.raises(ValueError, match="array of 4 values"):
        pictures.count_plot({"a": np.full(4, 0.25), "b": np.full(3, 1 / 3)})


def test_lags_show_the_median_and_a_band_over_pairs():
    values = np.random.default_rng(1).random((4, 5, 5))
    values[:, np.arange(5), np.arange(5)] = 100  # a neuron with itself is no pair
    values[:, 2] = np.nan
    ax = pictures.lag_plot({"pairs": values}, band=(0.1, 0.9), frame_rate=10.0)
    others = [[values[lag, i, j] for i in range(5) for j in range(5) if i != j and i != 2]
              for lag in range(4)]  # fmt: skip
    (line,) = ax.lines
    np.testing.assert_allclose(line.get_xdata(), [0, 0.1, 0.2, 0.3])
    np.testing.assert_allclose(line.get_ydata(), np.median(others, axis=1))
    edges = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert edges.min() == pytest.approx(np.quantile(others, 0.1, axis=1).min())
    assert edges.max() == pytest.approx(np.quantile(others, 0.9, axis=1).max())
    assert ax.get_xlabel() == "lag (s)"
    own = pictures.lag_plot({"own": values[:, 0], "other": values[:, 1]})
    assert own.get_xlabel() == "lag (frames)"
    np.testing.assert_allclose(own.lines[0].get_ydata(), np.median(values[:, 0], axis=1))


def test_different_lags_are_refused():
    with pytest.raises(ValueError, match="same lags"):
        pictures.lag_plot({"a": np.zeros((3, 4)), "b": np.zeros((2, 4))})
    with pytest.raises(ValueError, match="same lags"):
        pictures.lag_plot({})
