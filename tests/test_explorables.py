"""Views on a page: every picture that is offered, each by its control, each in words."""

from __future__ import annotations

import base64
import io
import itertools
import json
from contextlib import nullcontext

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

pytest.importorskip("ipywidgets", reason="needs the press")
from bs4 import BeautifulSoup
from ipywidgets import Checkbox, Dropdown, FloatSlider, IntSlider, SelectionSlider
from PIL import Image

import bookpress
from bookpress import pictures
from bookpress.book import BookError

CAPTION = "A band of grey at a height, one for each value of the controls."


class Band:
    """A picture that is white but for a row that tells the values of the controls."""

    def __init__(self):
        self.controls = {
            "row": IntSlider(max=3, value=1, description="Row", tooltip="Which row is dark"),
            "kind": Dropdown(options=[("as it is", "plain"), ("<turned>", "turned")]),
            "level": FloatSlider(min=0, max=1, value=0.5, readout_format=".2f"),
        }
        self.figure, self.n_drawn = Figure(figsize=(1, 1)), 0
        self.ax = self.figure.add_axes((0, 0, 1, 0.8))
        self.ax.axis("off")

    def still(self):
        return nullcontext()

    def redraw(self):
        values = {name: control.value for name, control in self.controls.items()}
        shown = np.ones((4, 4))
        shown[values["row"]] = values["level"] / 2
        self.ax.images and self.ax.images[0].remove()
        shown = shown.T if values["kind"] == "turned" else shown
        self.ax.imshow(shown, cmap="gray", vmin=0, vmax=1, aspect="auto")
        self.ax.set_title(f"row {values['row']}\n{values['kind']}")


@pytest.fixture
def on_a_page(monkeypatch):
    monkeypatch.setenv("BOOKPRESS_RUN", "default")
    monkeypatch.setenv("BOOKPRESS_PAGE", "1")
    monkeypatch.setattr("bookpress.night.of_session", lambda: None)


def explored(over, **options):
    settings = {"name": "explore-00", "caption": CAPTION} | options
    made = bookpress.explorable(Band(), over, **settings)
    return BeautifulSoup(made._repr_mimebundle_()["text/html"], "html.parser")


def frames(soup):
    return json.loads(soup.script.string)["frames"]


def pixels(frame, side="day"):
    _, _, data = frame[side].partition("base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("L"))


def test_a_live_notebook_gets_the_view_itself(monkeypatch):
    monkeypatch.delenv("BOOKPRESS_RUN", raising=False)
    view = Band()
    assert bookpress.explorable(view, {"row": None}, name="explore-00", caption=CAPTION) is view


def test_a_run_that_makes_no_page_gets_the_figure_as_it_stands(monkeypatch):
    monkeypatch.setenv("BOOKPRESS_RUN", "seed=3")
    monkeypatch.setenv("BOOKPRESS_PAGE", "")
    view = Band()
    shown = bookpress.explorable(view, {"row": None}, name="explore-00", caption=CAPTION)
    assert shown is view.figure


def test_each_combination_has_its_own_picture_the_last_control_fastest(on_a_page):
    soup = explored({"row": None, "kind": None})
    shown = frames(soup)
    pairs = itertools.product(range(4), ("plain", "turned"))
    assert [f["said"] for f in shown] == [f"row {row}, {kind}" for row, kind in pairs]
    for place, frame in enumerate(shown):
        row, turned = divmod(place, 2)
        image = pixels(frame)
        body = image[int(image.shape[0] * 0.2) :]
        body = body.T if turned else body
        heights = [band.mean() for band in np.array_split(body, 4)]
        assert np.argmin(heights) == row
        assert min(heights) < 90 < 230 < sorted(heights)[1]


def test_the_page_begins_where_the_view_stands(on_a_page):
    soup = explored({"row": None, "kind": ["turned", "plain"]})
    slider, box = soup.find("input"), soup.find("select")
    assert (slider["value"], slider["min"], slider["max"]) == ("1", "0", "3")
    assert soup.output.string == slider["aria-valuetext"] == "1"
    assert [o.string for o in box.find_all("option")] == ["<turned>", "as it is"]
    assert box.find("option", selected=True).string == "as it is"
    assert soup.img["alt"] == "row 1, plain" == soup.find(class_="vc-said").string
    assert soup.img["src"] == frames(soup)[3]["day"]


def test_every_control_has_a_label_of_its_own(on_a_page):
    soup = explored({"row": None, "kind": None, "level": [0, 0.25]})
    for control in soup.select(".vc-knobs input, .vc-knobs select"):
        assert soup.find("label", {"for": control["id"]}).string
    assert json.loads(soup.find_all("input")[1]["data-words"]) == ["0.00", "0.25"]


def test_all_pictures_stand_in_a_table_in_words(on_a_page):
    soup = explored({"row": [2, 3], "kind": None})
    rows = [[cell.string for cell in row.find_all("td")] for row in soup.find_all("tr")[1:]]
    assert rows[0] == ["2", "as it is", "row 2, plain"]
    assert len(rows) == 4


def test_words_of_the_caller_come_first_and_may_tell_of_all_controls(on_a_page):
    told = lambda values: f"</script> at {values['row']}, {values['kind']}"  # noqa: E731
    soup = explored({"row": [0, 1]}, describe=told)
    assert [f["said"] for f in frames(soup)] == [f"</script> at {k}, plain" for k in (0, 1)]


def test_the_view_is_left_as_it_was(on_a_page):
    view = Band()
    bookpress.explorable(view, {"row": None, "kind": None}, name="explore-00", caption=CAPTION)
    assert [c.value for c in view.controls.values()] == [1, "plain", 0.5]


def test_by_night_there_is_a_second_picture(on_a_page, monkeypatch):
    class Inverted:
        def __init__(self, figure, _palette):
            self.image = figure.axes[0].images[0]

        def __enter__(self):
            self.image.set_cmap("gray_r")

        def __exit__(self, *_):
            self.image.set_cmap("gray")

    monkeypatch.setattr("bookpress.night.of_session", dict)
    monkeypatch.setattr("bookpress.night.by_night", Inverted)
    soup = explored({"row": None})
    for frame in frames(soup):
        day, night = pixels(frame)[40:], pixels(frame, "night")[40:]
        assert abs(255 - day.astype(float) - night).max() < 25
    assert [img["class"] for img in soup.find_all("img")] == [["only-light"], ["only-dark"]]


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"hue": None}, "no control 'hue'; the view has row, kind, level"),
        ({"row": [7]}, r"does not admit \[7\], only \[0, 1, 2, 3\]"),
        ({"row": [1]}, "would have 1 pictures"),
        ({"row": None, "level": np.linspace(0, 1, 16).tolist()}, "would have 64 pictures"),
        ({"level": [0.0, 2.0]}, "does not admit {'level': 2.0}"),
    ],
)
def test_what_a_view_does_not_admit_is_refused(on_a_page, over, message):
    with pytest.raises(BookError, match=message):
        explored(over)


@pytest.mark.parametrize("wrong", [{"name": "Explore 1"}, {"caption": "Short."}])
def test_name_and_caption_must_do(on_a_page, wrong):
    with pytest.raises(BookError, match="needs a name of small letters"):
        explored({"row": None}, **wrong)


def test_a_figure_without_titles_needs_words(on_a_page, monkeypatch):
    monkeypatch.setattr(Band, "redraw", lambda self: None)
    with pytest.raises(BookError, match="pass `describe`"):
        explored({"row": None})


@pytest.mark.parametrize("control", [SelectionSlider(options=["a", "b"]), Checkbox()])
def test_other_controls_offer_all_their_values(on_a_page, control):
    class Other(Band):
        def __init__(self):
            super().__init__()
            self.controls["other"] = control

    made = bookpress.explorable(Other(), {"other": None}, name="explore-00", caption=CAPTION)
    assert len(frames(BeautifulSoup(made.text, "html.parser"))) == 2


def test_paper_and_patches_keep_their_colours_among_many_others():
    patches = {"#fbf9f4": (1, 1), "#b9821b": (25, 25), "#d1562a": (25, 65), "#dcefe8": (25, 105)}
    figure = Figure(figsize=(3, 2), facecolor="#fbf9f4")
    shades = np.linspace(0, 1, 900).reshape(30, 30)
    figure.add_axes((0.3, 0.1, 0.6, 0.5)).imshow(shades, cmap="viridis")
    for colour, (x, y) in patches.items():
        place = ((x - 10) / 360, 1 - (y + 10) / 240)
        figure.patches.append(Rectangle(place, 20 / 360, 20 / 240, color=colour, lw=0))
        figure.patches[-1].set_transform(figure.transFigure)
    made = Image.open(io.BytesIO(pictures.webp(figure))).convert("RGB")
    assert len(made.getcolors(100_000)) <= pictures.COMMONEST + pictures.COLOURS
    for colour, place in patches.items():
        assert "#{:02x}{:02x}{:02x}".format(*made.getpixel(place)) == colour


def test_a_picture_of_all_colours_is_not_put_into_few():
    shown = np.random.default_rng(0).random((60, 60, 3))
    figure = Figure(figsize=(1, 1))
    figure.add_axes((0, 0, 1, 1)).imshow(shown)
    made = Image.open(io.BytesIO(pictures.webp(figure))).convert("RGB")
    assert len(made.getcolors(100_000)) > 1000


class TestCover:
    def test_it_is_handed_to_the_press_and_shown_in_a_notebook(self, on_a_page):
        figure = Figure(figsize=(4, 3), facecolor="#336699")
        alt = "A plain field of blue, which shows nothing but its colour."
        bundle = bookpress.cover(figure, alt=alt)._repr_mimebundle_()
        told = bundle["application/vnd.bookpress.cover+json"]
        assert (told["alt"], told["night"]) == (alt, None)
        assert told["day"] in bundle["text/html"]
        data = base64.b64decode(told["day"].partition("base64,")[2])
        picture = Image.open(io.BytesIO(data))
        assert picture.size == (600, 450)
        assert picture.convert("RGB").getpixel((300, 200)) == (0x33, 0x66, 0x99)

    def test_it_needs_words(self):
        with pytest.raises(BookError, match="what it shows"):
            bookpress.cover(Figure(), alt="A picture.")
