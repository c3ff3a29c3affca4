"""The explorer of layers shows the site and the layer chosen, and reads and fits nothing anew."""

import io

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from visualcortex import figures, layer_widgets, widgets

LAYERS = ("pixels", "conv1", "conv2", "pool")
SITE, LAYER = 4, 1


@pytest.fixture(autouse=True)
def fresh():
    yield
    plt.close("all")


@pytest.fixture
def curves():
    """Scores of two networks at four layers of seven sites, and the ceilings of the sites."""
    rng = np.random.default_rng(0)
    ceiling = np.array([0.5, 0.2, 0.9, 0.4, 0.7, 0.3, 0.8])
    heights = {"trained": [0.2, 0.5, 0.8, 0.6], "random": [0.1, 0.3, 0.2, 0.2]}
    scores = {
        name: np.outer(height, ceiling) + 0.02 * rng.normal(size=(4, 7))
        for name, height in heights.items()
    }
    return scores, LAYERS, ceiling


@pytest.fixture
def shown(curves):
    """The same, with predictions of and responses to twelve images of three categories."""
    rng = np.random.default_rng(1)
    responses, images = rng.normal(size=(12, 7)), rng.random((12, 3, 6, 6))
    predictions = 0.5 * responses + 0.5 * rng.normal(size=(4, 12, 7))
    return *curves, predictions, responses, images, np.array(["boats", "cars", "faces"] * 4)


def controls(explorer):
    return {c.description: c for c in explorer.children[0].children}


def picture(explorer):
    return plt.imread(io.BytesIO(explorer.children[1].value))


@pytest.fixture
def explore(monkeypatch):
    """Make an explorer that draws no pixels, choose a site and a layer; return its axes too."""
    figures_made, view = [], layer_widgets.View

    def keep(figure, *others):
        figures_made.append(figure)
        return view(figure, *others)

    def explore(*arguments):
        explorer = layer_widgets.layer_explorer(*arguments)
        controls(explorer)["Site"].value = SITE
        controls(explorer)["Layer"].value = LAYER
        return explorer, figures_made[-1].axes

    monkeypatch.setattr(layer_widgets, "View", keep)
    monkeypatch.setattr(widgets, "_png", lambda _figure: b"")
    return explore


def changed(array, place, value):
    array = np.array(array)
    array[place] = value
    return array


@pytest.mark.parametrize(("control", "value"), [("Site", 3), ("Layer", 0)])
def test_each_control_changes_the_picture_and_back(shown, control, value):
    explorer = layer_widgets.layer_explorer(*shown)
    assert set(controls(explorer)) == {"Site", "Layer", "By ceiling"}
    assert all(c.tooltip for c in controls(explorer).values())
    before = picture(explorer)
    chosen = controls(explorer)[control]
    old, chosen.value = chosen.value, value
    assert not np.array_equal(picture(explorer), before)
    chosen.value = old
    assert np.array_equal(picture(explorer), before)
    assert plt.get_fignums() == []


def test_it_starts_at_the_layer_with_the_highest_median_of_the_first_network(shown):
    explorer = layer_widgets.layer_explorer(*shown)
    assert controls(explorer)["Layer"].label == "conv2"


def test_sorting_keeps_the_site_and_orders_the_others_by_ceiling(shown, explore):
    explorer, (left, *_) = explore(*shown)
    slider, button = (controls(explorer)[name] for name in ("Site", "By ceiling"))
    before = left.get_title()
    button.value = True
    assert slider.value == 4  # 0.2, 0.3, 0.4 and 0.5 are below its 0.7
    assert not slider.readout
    assert left.get_title() == before == "site 4, ceiling 0.70"
    for place, title in ((0, "site 1, ceiling 0.20"), (6, "site 2, ceiling 0.90")):
        slider.value = place
        assert left.get_title() == title
    button.value = False
    assert (slider.value, slider.readout) == (2, True)


def test_curves_are_those_of_the_site_beside_the_medians(shown, explore):
    scores, _, ceiling, *_ = shown
    _, (left, *_) = explore(*shown)
    level, *lines, mark, ring = left.lines
    assert left.get_title() == "site 4, ceiling 0.70"
    assert list(level.get_ydata()) == [ceiling[SITE]] * 2
    assert list(mark.get_xdata()) == [LAYER] * 2
    assert ring.get_xydata().tolist() == [[LAYER, scores["trained"][LAYER, SITE]]]
    expected = [values[:, SITE] for values in scores.values()]
    expected += [np.median(values, axis=1) for values in scores.values()]
    assert np.array_equal([line.get_ydata() for line in lines], expected)
    assert {line.get_color() for line in lines[2:]} == {figures.CHANCE}
    assert left.get_ylabel() == "share of variance explained"


def test_the_upper_end_of_scores_is_the_same_for_all_sites(shown, explore):
    scores, *others = shown
    low = {**scores, "random": changed(scores["random"], (0, 2), -3.0)}
    explorer, (left, *_) = explore(low, *others)
    before = left.get_ylim()
    assert -0.2 < before[0] < 0
    assert before[1] > 0.9
    controls(explorer)["Site"].value = 2
    assert left.get_ylim()[0] < -3
    controls(explorer)["Site"].value = SITE
    assert left.get_ylim() == before


def test_responses_are_those_of_the_site_and_the_layer_by_category(shown, explore):
    scores, _, _, predictions, responses, _, categories = shown
    explorer, (_, right, *_) = explore(*shown)
    assert right.get_title() == f"trained, conv1: score {scores['trained'][LAYER, SITE]:.2f}"
    *marks, _ = right.lines
    for line, name in zip(marks, ("boats", "cars", "faces"), strict=True):
        chosen = categories == name
        assert np.array_equal(line.get_xdata(), predictions[LAYER, chosen, SITE])
        assert np.array_equal(line.get_ydata(), responses[chosen, SITE])
    assert [text.get_text() for text in right.get_legend().get_texts()] == np.unique(
        categories
    ).tolist()
    assert len({line.get_color() for line in marks}) == len({x.get_marker() for x in marks}) == 3
    limits = right.get_xlim()
    assert limits == right.get_ylim()
    assert limits[0] < min(predictions[..., SITE].min(), responses[:, SITE].min())
    assert limits[1] > max(predictions[..., SITE].max(), responses[:, SITE].max())
    controls(explorer)["Layer"].value = 0
    assert right.get_xlim() == limits


def test_eight_categories_differ_in_their_marks_and_one_needs_no_legend(shown, explore):
    *others, _, _ = shown
    _, (_, right) = explore(*others, None, [f"kind {k % 8}" for k in range(12)])
    assert len({line.get_marker() for line in right.lines[:-1]}) == 8
    _, (_, right) = explore(*others)
    assert len(right.lines) == 2
    assert right.get_legend() is None


def test_images_with_the_highest_responses_are_shown_from_the_highest(shown, explore):
    *_, predictions, responses, images, _ = shown
    _, (*_, predicted, recorded) = explore(*shown)
    for ax, values in ((predicted, predictions[LAYER]), (recorded, responses)):
        best = np.argsort(-values[:, SITE])[:3]
        assert [t.get_text() for t in ax.get_xticklabels()] == [
            f"{value:.2g}" for value in values[best, SITE]
        ]
        pictures = np.split(ax.images[0].get_array(), 3, axis=1)
        for joined, image in zip(pictures, images[best], strict=True):
            assert (joined[:, [0, -1], 3] == 0).all()
            assert (joined[:, 1:-1, 3] == 255).all()
            assert np.array_equal(joined[:, 1:-1, :3], np.round(255 * image).transpose(1, 2, 0))
    assert [ax.get_title() for ax in (predicted, recorded)] == [
        "highest predicted (a.u.)", "highest recorded (a.u.)"
    ]  # fmt: skip


class OnDisk:
    """Images that count how often they are read."""

    def __init__(self, images):
        self.images, self.shape, self.dtype, self.n_reads = images, images.shape, images.dtype, 0

    def __len__(self):
        return len(self.images)

    def __getitem__(self, rows):
        self.n_reads += 1
        return self.images[rows]


def test_images_on_disk_are_read_only_at_the_start(shown, explore):
    *others, images, categories = shown
    lazy = OnDisk(images)
    explorer, _ = explore(*others, lazy, categories)
    assert lazy.n_reads == 1
    controls(explorer)["By ceiling"].value = True
    controls(explorer)["Site"].value = 0
    assert lazy.n_reads == 1


def test_many_images_are_read_piece_by_piece(shown, monkeypatch):
    every = layer_widgets._thumbnails(shown[5], np.arange(12))
    monkeypatch.setattr(layer_widgets, "CHUNK", 5)
    lazy = OnDisk(shown[5])
    assert np.array_equal(layer_widgets._thumbnails(lazy, np.arange(12)), every)
    assert lazy.n_reads == 3


def test_rounding_beyond_black_and_white_is_cut_off():
    images = np.array([-1e-7, 1 + 1e-7, 0.5] * 4).reshape(1, 3, 2, 2)
    (shown,) = layer_widgets._thumbnails(images, np.array([0]))
    assert shown.transpose(2, 0, 1).ravel().tolist() == [0, 255, 128] * 4


def test_large_images_are_thinned(shown, explore):
    *others, images, categories = shown
    large = np.repeat(np.repeat(images, 40, axis=2), 40, axis=3)
    _, (*_, predicted, _) = explore(*others, large, categories)
    assert predicted.images[0].get_array().shape == (80, 3 * (80 + 2 * 3), 4)


def test_a_single_site_layer_and_image_have_nothing_to_slide(shown):
    scores, _, ceiling, predictions, responses, images, _ = shown
    one = {"trained": scores["trained"][:1, :1]}
    explorer = layer_widgets.layer_explorer(
        one, ["pixels"], ceiling[:1], predictions[:1, :1, :1], responses[:1, :1], images[:1]
    )
    assert all(c.disabled for c in controls(explorer).values())


def test_sites_without_a_ceiling_or_score_are_shown_last(shown, explore):
    scores, layers, ceiling, *others = shown
    gaps = {**scores, "trained": changed(scores["trained"], (slice(None), 2), np.nan)}
    ceiling = changed(ceiling, 2, np.nan)
    explorer, (left, right, *_) = explore(gaps, layers, ceiling, *others)
    controls(explorer)["By ceiling"].value = True
    controls(explorer)["Site"].value = 6
    assert left.get_title() == "site 2, ceiling unknown"
    assert right.get_title() == "trained, conv1: score unknown"
    left.figure.draw_without_rendering()
    figure = layer_widgets.layer_small_multiples(gaps, layers, ceiling)
    assert len(figure.axes) == 6
    assert not any("site 2" in ax.get_title() for ax in figure.axes)


def test_small_multiples_go_from_the_lowest_to_the_highest_ceiling(curves):
    scores, _, ceiling = curves
    figure = layer_widgets.layer_small_multiples(*curves, n_sites=4)
    sites = [1, 3, 4, 2]
    titles = [f"site {site}, ceiling {ceiling[site]:.2f}" for site in sites]
    assert [ax.get_title() for ax in figure.axes] == titles
    assert figure.get_supylabel() == "share of variance explained"
    assert len({ax.get_ylim() for ax in figure.axes}) == 1
    low, high = figure.axes[0].get_ylim()
    for ax, site in zip(figure.axes, sites, strict=True):
        level, *lines = (line.get_ydata() for line in ax.lines)
        assert list(level) == [ceiling[site]] * 2
        expected = [values[:, site] for values in scores.values()]
        expected += [np.median(values, axis=1) for values in scores.values()]
        assert np.allclose(lines, expected)
        assert low < min(map(np.min, lines))
        assert max(ceiling[site], *map(np.max, lines)) < high
        # the median is grey, with the mark of its network
        assert [line.get_color() for line in ax.lines[3:]] == [figures.CHANCE] * 2
        marks = [line.get_marker() for line in ax.lines[1:]]
        assert marks[:2] == marks[2:] == list(figures.MARKERS[:2])
    assert [t.get_text() for t in figure.axes[-1].get_xticklabels()] == list(LAYERS)
    (legend,) = figure.legends
    names = ["ceiling", "trained", "random", "medians over sites"]
    assert [text.get_text() for text in legend.get_texts()] == names
    assert plt.get_fignums() == [figure.number]


@pytest.mark.parametrize(("n_sites", "n_shown"), [(1, 1), (2, 2), (6, 6), (9, 7)])
def test_the_site_with_the_highest_ceiling_is_always_shown(curves, n_sites, n_shown):
    figure = layer_widgets.layer_small_multiples(*curves, n_sites=n_sites)
    assert len(figure.axes) == n_shown
    assert figure.axes[-1].get_title() == "site 2, ceiling 0.90"


@pytest.mark.parametrize(
    "draw", [layer_widgets.layer_explorer, layer_widgets.layer_small_multiples]
)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, a, c: ({}, a, c), "scores of none"),
        (lambda s, a, c: (s, a[1:], c), "got 3 layers"),
        (lambda s, a, c: (s, a, c[1:]), r"ceilings \(6,\)"),
        (lambda s, a, c: ({**s, "random": s["random"].T}, a, c), r"'random': \(7, 4\)"),
        (lambda s, a, c: ({k: s["random"] for k in "abcdefg"}, a, c), "need 1 to 6 lines"),
        (lambda s, a, c: ({**s, "random": s["random"] + np.inf}, a, c), "'random' holds infinity"),
        (lambda s, a, c: ({"x": changed(s["random"], 1, np.nan)}, a, c), "NaN for all sites"),
        (lambda s, a, c: (s, a, c * np.nan), "'ceiling' holds"),
    ],
)
def test_scores_that_do_not_fit_are_refused(shown, draw, change, message):
    arguments = change(*shown[:3])
    if draw is layer_widgets.layer_explorer:
        arguments += shown[3:]
    with pytest.raises(ValueError, match=message):
        draw(*arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, r, i, c: (p[:, 1:], r, i, c), r"responses \(image, site\) to the same images"),
        (lambda p, r, i, c: (p[0], r, i, c), r"predictions \(layer, image, site\)"),
        (lambda p, r, i, c: (p[1:], r, i, c), "of 4 layers and 7 sites, but predictions of 3 and"),
        (lambda p, r, i, c: (p[..., 1:], r[:, 1:], i, c), "predictions of 4 and 6"),
        (lambda p, r, i, c: (p, changed(r, 3, np.nan), i, c), "must be finite"),
        (lambda p, r, i, c: (p, r, i[1:], c), r"need images \(12, 3, H, W\)"),
        (lambda p, r, i, c: (p, r, i[:, 0], c), r"got \(12, 6, 6\)"),
        (lambda p, r, i, c: (p, r, 4 * i - 2, c), "Undo a normalisation"),
        (lambda p, r, i, c: (p, r, i * np.nan, c), "images must be from 0 to 1"),
        (lambda p, r, i, c: (p, r, i, c[1:]), "one category for each of 12 images; got 11"),
        (lambda p, r, i, c: (p, r, i, np.arange(12) % 9), "got 9 categories"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(shown, change, message):
    with pytest.raises(ValueError, match=message):
        layer_widgets.layer_explorer(*shown[:3], *change(*shown[3:]))


def test_no_site_is_refused(curves):
    with pytest.raises(ValueError, match="at least 1; got 0"):
        layer_widgets.layer_small_multiples(*curves, n_sites=0)
