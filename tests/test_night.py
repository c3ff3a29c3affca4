"""Figures by night: contrast, colours that stay apart, and every artist put back as it was."""

from __future__ import annotations

import itertools
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import ListedColormap, to_hex, to_rgb, to_rgba

from bookpress import night
from bookpress.book import Book, BookError
from visualcortex import figures

# How colour-blind readers see linear red, green and blue (Machado, Oliveira & Fernandes 2009).
SEEN = {
    "all": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
SERIES = dict.fromkeys([*figures.SERIES, figures.CHANCE, figures.CEILING])
TEXT = (figures.INK, "#6d7780")
WORDS = ("ink", "soft", "accent", "warm")


def linear(colour: str) -> np.ndarray:
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """As the Web Content Accessibility Guidelines define it, 1 to 21."""
    low, high = sorted(float(linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(colour: str, seen: str) -> np.ndarray:
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = to_xyz @ np.clip(np.array(SEEN[seen]) @ linear(colour), 0, 1) / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def nearest(colours: list[str], seen: str) -> float:
    pairs = itertools.combinations(colours, 2)
    return min(np.linalg.norm(lab(a, seen) - lab(b, seen)) for a, b in pairs)


def themes(css: str) -> dict[str, dict[str, str]]:
    """Colours of the page by theme: name to value."""
    blocks = re.findall(r"^(html[^{]*)\{([^}]*--vc-paper: #[^}]*)\}", css, re.M)
    return {
        "dark" if 'html[data-theme="dark"]' in selector else "light": dict(
            re.findall(r"--vc-([\w-]+): (#[0-9a-f]{6})\b", block)
        )
        for selector, block in blocks
    }


@pytest.fixture
def palette(root):
    return night.of_book(Book(root))


@pytest.fixture
def figure():
    """A figure with some of everything that has a colour."""
    with plt.rc_context():
        figures.use_style()
        figure, axes = plt.subplots(1, 3, figsize=(7, 2), dpi=50)
        x = np.arange(3.0)
        figures.curves(x, {"one": (x, x - 1, x + 1)}, xlabel="x", ylabel="y", chance=0, ax=axes[0])
        axes[0].annotate(
            "peak", (1, 1), (2, 0), arrowprops={"color": figures.INK}, bbox={"fc": figures.PAPER}
        )
        dots = axes[1].scatter(x, x, c=x, cmap=figures.SIGNED.reversed(), edgecolor=figures.PAPER)
        figure.colorbar(dots, ax=axes[1])
        axes[1].bar(x, x, color=[figures.REAL, "C1", "none"], alpha=0.5)
        axes[2].imshow(np.eye(3), cmap=figures.ACTIVITY.with_extremes(bad=figures.EMPTY))
        axes[2].patch.set(hatch="//", edgecolor=figures.EMPTY)
        figure.canvas.draw()
    yield figure
    plt.close(figure)


def state(figure) -> list:
    """Colours and colour maps of all artists, as they are."""
    found = []
    for artist in figure.findobj():
        keys = [key for key in vars(artist) if "color" in key.lower() and "izer" not in key]
        found.append({key: np.array(vars(artist)[key], dtype=object) for key in keys})
        if hasattr(artist, "get_cmap"):
            found.append({"cmap": artist.get_cmap()})
    return found


def same(one: list, other: list) -> bool:
    return len(one) == len(other) and all(
        a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)
        for a, b in zip(one, other, strict=True)
    )


class TestColours:
    @pytest.mark.parametrize("colour", SERIES)
    def test_series_stand_out_from_the_night_paper(self, palette, colour):
        paper = palette.colours[figures.PAPER]
        assert contrast(palette.colours[colour], paper) >= 3

    @pytest.mark.parametrize("colour", TEXT)
    def test_text_can_be_read(self, palette, colour):
        assert contrast(palette.colours[colour], palette.colours[figures.PAPER]) >= 4.5

    @pytest.mark.parametrize("seen", SEEN)
    def test_series_stay_apart_for_all_readers_at_least_as_by_day(self, palette, seen):
        dark = nearest([palette.colours[c] for c in SERIES], seen)
        assert dark >= min(nearest(list(SERIES), seen), 15)

    def test_no_two_colours_of_the_day_that_mean_something_fall_together(self, palette):
        assert len({palette.colours[colour] for colour in SERIES}) == len(SERIES)

    @pytest.mark.parametrize("name", ["paper_to_ink", "blue_paper_orange"])
    def test_paper_in_a_colour_map_becomes_night_paper(self, palette, name):
        day = {m.name: m for m in (figures.ACTIVITY, figures.SIGNED)}[name]
        dark = palette.map(day)
        at = 0.0 if name == "paper_to_ink" else 0.5
        assert np.allclose(dark(at), to_rgba(palette.colours[figures.PAPER]), atol=0.02)
        luminance = [linear(to_hex(dark(p))) @ [0.2126, 0.7152, 0.0722] for p in (at, 0.8, 1.0)]
        assert luminance == sorted(luminance), "what was darker is lighter"

    def test_reversed_maps_and_undefined_values_follow(self, palette):
        dark = palette.map(figures.ACTIVITY.reversed().with_extremes(bad=figures.EMPTY))
        assert np.allclose(dark(1.0), palette.map(figures.ACTIVITY)(0.0))
        assert to_hex(dark.get_bad()) == palette.colours[figures.EMPTY]

    def test_other_maps_stay(self, palette):
        grey = plt.get_cmap("gray")
        assert palette.map(grey) is grey

    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_words_of_the_page_can_be_read(self, root, theme):
        css = themes((root / "book" / "_static" / "book.css").read_text())[theme]
        for name, ground in itertools.product(WORDS, ("paper", "raised", "sunk")):
            assert contrast(css[name], css[ground]) >= 4.5, f"{name} on {ground} ({theme})"

    def test_figures_stand_on_the_paper_of_the_page(self, root, palette):
        css = themes((root / "book" / "_static" / "book.css").read_text())
        assert css["light"]["paper"] == figures.PAPER
        assert css["dark"]["paper"] == palette.colours[figures.PAPER]


class TestByNight:
    def test_every_colour_of_the_day_is_gone_and_comes_back(self, figure, palette):
        before = state(figure)
        with night.by_night(figure, palette):
            figure.canvas.draw()
            pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
        assert same(before, state(figure))
        assert figure.get_layout_engine() is not None
        paper = np.round(255 * np.array(to_rgb(figures.PAPER)))
        assert not (pixels == paper).all(-1).any()
        assert (pixels[0, 0] == np.round(255 * np.array(to_rgb("#13171d")))).all()

    def test_it_comes_back_after_an_error_too(self, figure, palette):
        before = state(figure)

        def draw():
            with night.by_night(figure, palette):
                raise RuntimeError("no ink")

        with pytest.raises(RuntimeError, match="no ink"):
            draw()
        assert same(before, state(figure))

    def test_alpha_and_colours_that_mean_nothing_stay(self, palette):
        assert palette.colour((*to_rgb(figures.REAL), 0.3))[3] == 0.3
        assert palette.colour("none") == "none"
        assert palette.colour("#123456") == "#123456"
        assert palette.colour("auto") == "auto"

    def test_a_map_made_of_listed_colours_turns_with_them(self, palette):
        listed = ListedColormap([figures.PAPER, figures.REAL, "#123456"])
        dark = palette.map(listed)
        expected = ["#13171d", palette.colours[figures.REAL], "#123456"]
        assert [to_hex(dark(k)) for k in range(3)] == expected
        other, steps = plt.get_cmap("viridis"), range(256)
        assert np.allclose(palette.map(other)(steps), other(steps))

    def test_words_boxes_and_legends_are_changed_while_it_is_night(self, figure, palette):
        note = next(t for t in figure.axes[0].texts if t.get_text() == "peak")
        word = figure.axes[0].get_legend().get_texts()[0]
        with night.by_night(figure, palette):
            assert to_hex(note.get_bbox_patch().get_facecolor()) == "#13171d"
            assert to_hex(word.get_color()) == palette.colours[figures.INK]
        assert to_hex(note.get_bbox_patch().get_facecolor()) == figures.PAPER
        assert to_hex(word.get_color()) == figures.INK


class TestPalette:
    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("colours: [1]", "mapping `colours`"),
            ("- 1", "mapping `colours`"),
            ("colours: {'#ffffff': nocolour}", "nocolour"),
            ("colours: {}\nmaps: {a: ['#00000']}", "#00000"),
        ],
    )
    def test_a_bad_palette_is_refused(self, tmp_path, text, fault):
        (tmp_path / "night.yaml").write_text(text)
        with pytest.raises(BookError, match=fault):
            night.read(tmp_path / "night.yaml")

    def test_a_palette_that_is_not_there_is_named(self, tmp_path):
        with pytest.raises(BookError, match=r"No palette absent\.yaml"):
            night.read(tmp_path / "absent.yaml")

    def test_outside_the_press_there_is_none(self, tmp_path, monkeypatch):
        monkeypatch.delenv("BOOKPRESS_ROOT", raising=False)
        assert night.of_session() is None
        assert night.of_book(Book(tmp_path)) is None

    def test_every_colour_that_the_library_names_has_one_by_night(self, root, palette):
        named = {
            colour.lower()
            for path in [*(root / "lib/visualcortex").rglob("*.py"), *root.glob("notebooks/*.py")]
            for colour in re.findall(r"[\"'](#[0-9a-fA-F]{6})[\"']", path.read_text())
        }
        # stops inside the colour maps, which have twins of their own
        stops = {"#a9c3d3", "#0b2233", "#083d5c", "#8fb8cf", "#eeb99f", "#7d2c10"}
        assert named - stops <= set(palette.colours)
