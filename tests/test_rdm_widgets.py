"""The explorer of dissimilarities shows the matrices chosen as ranks, and the pictures alike."""

import io

import matplotlib
import numpy as np
import pytest
from scipy.stats import kendalltau, pearsonr, spearmanr

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from visualcortex import figures, rdm_widgets, widgets
from visualcortex.evaluation.representations import rdm

N = 14
GROUPS = np.array(["face", "body", "tool", "body", "face", "tool", "face"] * 2)
PICTURE = 5


@pytest.fixture
def shown():
    """Two models, two targets, groups and images of fourteen pictures."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(N, 20))
    noisy = [rdm(features + s * rng.normal(size=(N, 20)), device="cpu") for s in (1, 2, 1, 0.5)]
    models = {"a": noisy[0], "b": noisy[1]}
    targets = {"monkey": noisy[2], "people": noisy[3]}
    return models, targets, GROUPS, rng.random((N, 3, 6, 6))


@pytest.fixture
def explore(monkeypatch):
    """Make an explorer that draws no pixels, choose the second of each; return its axes too."""
    figures_made, view = [], rdm_widgets.View

    def keep(figure, *others):
        figures_made.append(figure)
        return view(figure, *others)

    def explore(models, targets, groups, images=None, **options):
        explorer = rdm_widgets.rdm_explorer(models, targets, groups, images=images, **options)
        for name, value in (("Model", list(models)[-1]), ("Target", list(targets)[-1])):
            controls(explorer)[name].value = value
        if images is not None:
            controls(explorer)["Picture"].value = PICTURE
        return explorer, figures_made[-1].axes

    monkeypatch.setattr(rdm_widgets, "View", keep)
    monkeypatch.setattr(widgets, "_png", lambda _figure: b"")
    monkeypatch.setattr(Figure, "draw_without_rendering", lambda _figure: None)
    return explore


def controls(explorer):
    return {c.description: c for c in explorer.children[0].children}


def picture(explorer):
    return plt.imread(io.BytesIO(explorer.children[1].value))


def changed(array, place, value):
    array = np.array(array)
    array[place] = value
    return array


def pairs(matrix):
    return np.array([matrix[i, j] for i in range(len(matrix)) for j in range(i + 1, len(matrix))])


def ranks_by_counting(matrix, order):
    """Share of the other pairs that are smaller, ties counting half, in the order of pictures."""
    values = pairs(matrix)
    ranks = np.full(matrix.shape, np.nan)
    for row, i in enumerate(order):
        for column, j in enumerate(order):
            if i != j:
                ties = np.sum(values == matrix[i, j]) - 1
                ranks[row, column] = np.sum(values < matrix[i, j]) + ties / 2
    return ranks / (len(values) - 1)


@pytest.mark.parametrize(
    ("control", "value"), [("Model", "b"), ("Target", "people"), ("Picture", 9)]
)
def test_each_control_changes_the_picture_and_back(shown, control, value):
    explorer = rdm_widgets.rdm_explorer(*shown[:3], images=shown[3])
    assert set(controls(explorer)) == {"Model", "Target", "Picture"}
    assert all(c.tooltip for c in controls(explorer).values())
    before = picture(explorer)
    chosen = controls(explorer)[control]
    old, chosen.value = chosen.value, value
    assert not np.array_equal(picture(explorer), before)
    chosen.value = old
    assert np.array_equal(picture(explorer), before)
    assert plt.get_fignums() == []


def test_without_images_there_is_no_picture_to_choose(shown, explore):
    explorer, axes = explore(*shown[:3])
    assert set(controls(explorer)) == {"Model", "Target"}
    assert len(axes) == 4


def test_matrices_are_ranks_sorted_by_group_with_lines_between(shown, explore):
    models, targets, *_ = shown
    _, (left, middle, *_) = explore(*shown)
    order = [k for name in ("body", "face", "tool") for k in range(N) if GROUPS[k] == name]
    for ax, name, matrix in ((left, "b", models["b"]), (middle, "people", targets["people"])):
        expected = ranks_by_counting(matrix, order)
        image = ax.images[0]
        assert np.allclose(image.get_array().filled(np.nan), expected, equal_nan=True)
        assert image.get_clim() == (0, 1)
        assert ax.get_title() == name
        across = {tuple(x.get_ydata()) for x in ax.lines[:-1]} - {(0, 1)}
        assert across == {(3.5, 3.5), (9.5, 9.5)}  # four bodies, six faces, four tools
        assert ax.get_xlabel() == "picture, by category"
    assert [t.get_text() for t in left.get_yticklabels()] == ["body", "face", "tool"]
    assert np.allclose(left.get_yticks(), [1.5, 6.5, 11.5])


def test_tied_pairs_share_their_rank(shown, explore):
    _, targets, *others = shown
    labels_only = (GROUPS[:, None] != GROUPS).astype(float)
    _, (left, *_) = explore({"labels": labels_only}, targets, *others)
    order = np.argsort(GROUPS, kind="stable")
    expected = ranks_by_counting(labels_only, order)
    assert len(np.unique(expected[~np.isnan(expected)])) == 2
    assert np.allclose(left.images[0].get_array().filled(np.nan), expected, equal_nan=True)


def test_a_diagonal_of_nan_counts_as_none(shown, explore):
    models, *others = shown
    gaps = {"b": models["b"] + np.diag([np.nan] * N)}
    pictures = [explore(m, *others)[1][0].images[0] for m in ({"b": models["b"]}, gaps)]
    first, second = (p.get_array().filled(-1) for p in pictures)
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("method", "oracle"),
    # no two pairs are equal here, so that tau-a is tau-b
    [("spearman", spearmanr), ("pearson", pearsonr), ("kendall_tau_a", kendalltau)],
)
def test_agreements_and_pairs_are_those_of_the_target(shown, explore, method, oracle):
    models, targets, *_ = shown
    _, (_, _, level, right, *_) = explore(*shown, method=method)
    x, y = pairs(models["b"]), pairs(targets["people"])
    expected = [oracle(pairs(model), y)[0] for model in models.values()]
    assert np.allclose(level.collections[1].get_offsets(), np.c_[expected, [0, 1]])
    assert level.get_title("right") == f"agreement {expected[1]:.2f}"
    assert level.get_xlabel() == f"correlation ({method})"
    assert [text.get_text() for text in level.get_yticklabels()] == ["a", "b"]
    assert not level.patches[0].get_visible()
    assert np.array_equal(right.lines[0].get_xydata(), np.stack([x, y], axis=1))
    labels = right.get_xlabel(), right.get_ylabel()
    assert labels == ("dissimilarity, b", "dissimilarity, people")
    for (low, high), values in ((right.get_xlim(), x), (right.get_ylim(), y)):
        assert low < values.min()
        assert high > values.max()


KNOWN = {
    "monkey": {"a": (0.2, 0.1, 0.3), "b": (0.4, 0.3, 0.5), "other": (0.9, 0.9, 0.9)},
    "people": {"a": (-0.1, -0.2, 0.1), "b": (0.6, 0.55, 0.7)},
}


def test_intervals_and_ceilings_that_are_given_are_shown(shown, explore):
    explorer, (_, _, level, *_) = explore(*shown, agreement=KNOWN, ceiling={"people": (0.7, 0.8)})
    bars, dots = level.collections
    assert level.get_title("right") == "agreement 0.60 (0.55 to 0.70)"
    assert np.allclose(bars.get_segments(), [[(-0.2, 0), (0.1, 0)], [(0.55, 1), (0.7, 1)]])
    assert np.allclose(dots.get_offsets(), [(-0.1, 0), (0.6, 1)])
    colours = [to_hex(colour) for colour in dots.get_facecolor()]
    assert colours == [figures.CHANCE, figures.GENERATED]
    band, before = level.patches[0], level.get_xlim()
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((0.7, 0.8))
    assert band.get_visible()
    assert before[0] < -0.2
    assert before[1] > 0.8
    controls(explorer)["Target"].value = "monkey"
    assert level.get_title("right") == "agreement 0.40 (0.30 to 0.50)"
    assert not band.get_visible()
    assert not level.texts[0].get_visible()
    assert level.get_xlim() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"agreement": {"monkey": KNOWN["monkey"]}},
            r"none for \[\('a', 'people'\), \('b', 'people'\)\]",
        ),
        ({"agreement": {**KNOWN, "people": {"a": (0, 0, 0)}}}, r"none for \[\('b', 'people'\)\]"),
        (
            {"agreement": {t: {"a": (0.2, 0.3, 0.4), "b": (0, 0, 0)} for t in KNOWN}},
            "got 0.2, 0.3, 0.4 for 'a'",
        ),
        ({"agreement": {t: {"a": (np.nan,) * 3, "b": (0, 0, 0)} for t in KNOWN}}, "got nan"),
        ({"ceiling": {"cats": (0.1, 0.2)}}, r"ceilings of \['cats'\]"),
        ({"ceiling": {"people": (0.3, 0.2)}}, "'people' goes from 0.3 to 0.2"),
    ],
)
def test_agreements_and_ceilings_that_do_not_fit_are_refused(shown, options, message):
    with pytest.raises(ValueError, match=message):
        rdm_widgets.rdm_explorer(*shown[:3], **options)


def test_many_pairs_are_counted_in_bins(shown, explore, monkeypatch):
    monkeypatch.setattr(rdm_widgets, "MOST_DOTS", N * (N - 1) // 2 - 1)
    models, targets, *_ = shown
    _, (_, _, _, right, *_) = explore(*shown)
    x, y = pairs(models["b"]), pairs(targets["people"])
    counts, columns, rows = np.histogram2d(x, y, bins=rdm_widgets.N_BINS)
    image = right.images[0]
    assert not right.lines
    # a row of a picture is a bin of y
    assert np.array_equal(image.get_array(), counts.T / counts.max())
    assert np.allclose(image.get_extent(), (columns[0], columns[-1], rows[0], rows[-1]))
    assert image.origin == "lower"


def test_the_pictures_most_alike_are_shown_in_their_order(shown, explore):
    models, targets, _, images = shown
    _, axes = explore(*shown)
    chosen, *alike = axes[4:7]
    assert chosen.get_title() == f"picture {PICTURE}"
    assert [t.get_text() for t in chosen.get_xticklabels()] == [f"{GROUPS[PICTURE]}\n"]
    order = np.arange(N)
    rows = [[PICTURE]]
    sides = (("b", models["b"]), ("people", targets["people"]))
    for ax, (name, matrix) in zip(alike, sides, strict=True):
        others = sorted((value, k) for k, value in enumerate(matrix[PICTURE]) if k != PICTURE)
        rows.append([k for _, k in others[:3]])
        ranks = ranks_by_counting(matrix, order)[PICTURE, rows[-1]]
        said = [f"{GROUPS[k]}\nrank {r:.3f}" for k, r in zip(rows[-1], ranks, strict=True)]
        assert [t.get_text() for t in ax.get_xticklabels()] == said
        assert ax.get_title() == f"most alike, {name}"
    for ax, row in zip((chosen, *alike), rows, strict=True):
        parts = np.split(ax.images[0].get_array(), len(row), axis=1)
        for part, image in zip(parts, images[row], strict=True):
            assert np.array_equal(part[:, 1:-1, :3], np.round(255 * image).transpose(1, 2, 0))


class OnDisk:
    """Images that count how often they are read, and cannot be read but by rows."""

    def __init__(self, images):
        self.images, self.shape, self.dtype, self.n_reads = images, images.shape, images.dtype, 0

    def __len__(self):
        return len(self.images)

    def __getitem__(self, rows):
        self.n_reads += 1
        return self.images[rows]

    def __array__(self, *_arguments, **_options):
        raise MemoryError("all images at once")


def test_images_on_disk_are_read_only_at_the_start(shown, explore):
    *others, images = shown
    lazy = OnDisk(images)
    explorer, _ = explore(*others, lazy)
    controls(explorer)["Picture"].value = 3
    assert lazy.n_reads == 1


def test_a_mark_stands_at_the_row_of_the_picture(shown, explore):
    explorer, (left, middle, *_) = explore(*shown)
    order = np.argsort(GROUPS, kind="stable")
    for k in (0, PICTURE, N - 1):
        controls(explorer)["Picture"].value = k
        for ax in (left, middle):
            assert order[ax.lines[-1].get_ydata()[0]] == k


def test_three_pictures_of_one_group_are_enough(shown):
    few = np.ix_(range(3), range(3))
    models, targets, _, images = shown
    explorer = rdm_widgets.rdm_explorer(
        {"a": models["a"][few]}, {"t": targets["monkey"][few]}, ["x"] * 3, images=images[:3]
    )
    assert controls(explorer)["Picture"].max == 2


def test_names_of_many_groups_are_left_out(shown, explore):
    _, (left, *_) = explore(*shown[:2], np.arange(N))
    assert not left.get_yticklabels()
    # each group is one picture: lines are between all of them
    assert len(left.lines) == 2 * (N - 1)


def test_small_multiples_are_ranks_in_one_row_on_one_scale(shown):
    models, targets, groups, _ = shown
    matrices = {**models, **targets}
    figure = rdm_widgets.rdm_small_multiples(matrices, groups)
    order = np.argsort(groups, kind="stable")
    axes = figure.axes[: len(matrices)]
    assert len({ax.get_subplotspec().rowspan for ax in axes}) == 1
    for ax, (name, matrix) in zip(axes, matrices.items(), strict=True):
        shown_there = ax.images[0].get_array().filled(np.nan)
        assert np.allclose(shown_there, ranks_by_counting(matrix, order), equal_nan=True)
        assert (ax.get_title(), ax.get_xlabel()) == (name, "picture, by category")
        assert ax.images[0].get_cmap()(0.0) == figures.ACTIVITY(1.0)
    # the scale belongs to the last one
    (bar,) = axes[-1].child_axes
    assert bar.get_ylabel() == "rank of dissimilarity"
    # a notebook shows it by plt.show()
    assert plt.get_fignums() == [figure.number]
    plt.close(figure)


def test_matrices_are_not_changed(shown):
    models, targets, groups, images = shown
    before = [m.copy() for m in (*models.values(), *targets.values())]
    rdm_widgets.rdm_explorer(models, targets, groups, images=images)
    after = (*models.values(), *targets.values())
    assert all(np.array_equal(x, y) for x, y in zip(before, after, strict=True))


def explore_against_itself(matrices, groups):
    rdm_widgets.rdm_explorer(matrices, matrices, groups)


@pytest.mark.parametrize("draw", [explore_against_itself, rdm_widgets.rdm_small_multiples])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m, g: ({}, g), "got none"),
        (lambda m, g: ({**m, "b": m["b"][:, 1:]}, g), r"'b': \(14, 13\)"),
        (lambda m, g: ({"a": m["a"][:2, :2]}, g[:2]), r"at least three; got \{'a': \(2, 2\)"),
        (lambda m, g: ({"a": np.stack([m["a"]] * 2)}, g), "Average over subjects"),
        (lambda m, g: ({"a": changed(m["a"], (3, 4), np.nan)}, g), "'a' has 1 NaN or infinite"),
        (lambda m, g: ({"a": 1 - np.eye(N)}, g), "not the same for all pairs"),
        (lambda m, g: ({"a": changed(m["a"], (3, 4), 5.0)}, g), "symmetric; those of 'a' differ"),
        (lambda m, g: ({"a": 1 - m["a"]}, g), "Of similarities pass 1 - similarity"),
        (lambda m, g: (m, g[1:]), r"one group for each of 14 pictures.*got shape \(13,\)"),
        (lambda m, g: (m, [None, *g[1:]]), "with 1 missing"),
        (lambda m, g: (m, None), r"got shape \(\) with 1 missing"),
    ],
)
def test_matrices_and_groups_that_do_not_fit_are_refused(shown, draw, change, message):
    models, groups = change(shown[0], shown[2])
    with pytest.raises(ValueError, match=message):
        draw(models, groups)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": {}}, "targets must be at least one matrix"),
        ({"targets": {"t": 1 - np.eye(9) + np.tri(9, k=-3) + np.tri(9, k=-3).T}}, "targets of 9"),
        ({"images": np.zeros((N - 1, 3, 6, 6))}, r"need images \(14, 3, H, W\)"),
        ({"images": np.zeros((N, 6, 6, 3))}, "Move colours to the second axis"),
        ({"images": np.full((N, 3, 6, 6), 2.0)}, "images must be from 0 to 1"),
        ({"method": "cosine"}, "method must be one of .*got 'cosine'"),
    ],
)
def test_targets_images_and_methods_that_do_not_fit_are_refused(shown, change, message):
    arguments = dict(zip(("models", "targets", "groups", "images"), shown, strict=True))
    with pytest.raises(ValueError, match=message):
        rdm_widgets.rdm_explorer(**{**arguments, **change})
