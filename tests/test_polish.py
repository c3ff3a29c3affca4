"""The pass over built pages: what the press sent along with figures comes to stand beside them."""

from __future__ import annotations

import base64
import hashlib
import io
import json

import matplotlib.pyplot as plt
import nbformat
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from bookpress import night, polish, showing
from bookpress.book import Book, BookError

pytestmark = pytest.mark.press

CSV = "series,time (s),rate (Hz)\n" + "".join(f"a,{k},{2 * k}\n" for k in range(100))
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta name="viewport"/> <meta name="viewport"/>\n\n <title>t</title></head>
<body><div id="pst-primary-sidebar"></div><main>
<div id="jb-print-docs-body"><h1>Title</h1></div>
<article><h1>Title</h1><p>Text &amp; more, see <a class="reference" href="#fig-a">
<span class="std std-numref">Fig. 73</span></a>.</p>
<div class="cell_output"><figure id="fig-a"><a href="../../_images/{name}.png">
<img alt="What it shows" src="../../_images/{name}.png" style="width: 40px; height: 30px;"/></a>
<figcaption><p><span class="caption-number">Fig. 73 </span>Words.</p></figcaption></figure></div>
<div class="cell_output"><div class="vc-explorable" id="explore"><figure>
<img class="only-light" src="{day}" alt="one"/><img class="only-dark" src="{dark}" alt="one"/>
</figure><script type="application/json">{frames}</script></div></div>
<div class="cell_output"><div class="output text_html"><table><tr>{cells}</tr></table></div></div>
<section id="exercise-content">One</section><section id="exercise-content">Two</section>
</article></main><footer></footer></body></html>"""


def picture(colour: str, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (80, 60), colour).save(stream, kind, lossless=True)
    return stream.getvalue()


def uri(colour: str) -> str:
    return f"data:image/webp;base64,{base64.b64encode(picture(colour, 'WEBP')).decode()}"


def outputs(faults: list[str]) -> list[dict]:
    figure = {
        "night": uri("black"),
        "tables": [{"caption": "Rates", "csv": CSV, "total": 100}],
        "faults": faults,
    }
    shown = {
        "image/png": base64.b64encode(picture("white")).decode(),
        showing.MIMETYPE: figure,
    }
    cover = {polish.COVER: {"day": uri("red"), "night": uri("blue"), "alt": "A square"}}
    return [
        nbformat.v4.new_output("display_data", data=data, metadata={}) for data in (shown, cover)
    ]


def make(folder, faults: list[str] | tuple = ()) -> Book:
    """A built book of one chapter and a front page with a place for its cover."""
    (folder / "_toc.yml").write_text("root: book/index\nchapters:\n- file: book/chapters/05b_x\n")
    cell = nbformat.v4.new_code_cell("x", outputs=outputs(list(faults)))
    notebook = nbformat.v4.new_notebook(cells=[cell])
    for made in ("book/chapters", "_build/html/book/chapters", "_build/html/_images"):
        (folder / made).mkdir(parents=True)
    nbformat.write(notebook, folder / "book/chapters/05b_x.ipynb")
    name = hashlib.sha256(picture("white")).hexdigest()
    site = folder / "_build/html"
    (site / "_images" / f"{name}.png").write_bytes(picture("white"))
    frames = {"frames": [{"said": "a </b>", "day": uri("green"), "night": uri("navy")}]}
    (site / "book/chapters/05b_x.html").write_text(
        PAGE.format(
            name=name,
            day=uri("green"),
            dark=uri("navy"),
            frames=json.dumps(frames).replace("</", "<\\/"),
            cells="<td>1</td>" * 6,
        )
    )
    (site / "book/index.html").write_text(
        '<html lang="en"><body><main><article><h1>Front</h1>'
        '<div class="vc-cover" data-chapter="05b_x"></div></article></main></body></html>'
    )
    return Book(folder)


def page(book: Book, name: str = "book/chapters/05b_x") -> BeautifulSoup:
    return BeautifulSoup((book.site / f"{name}.html").read_text(), "html.parser")


@pytest.fixture
def polished(tmp_path):
    book = make(tmp_path)
    polish.polish(book)
    return book


def file_of(book: Book, address: str):
    return (book.site / "book/chapters" / address).resolve()


class TestFigures:
    def test_the_picture_by_night_stands_beside_the_one_by_day(self, polished):
        day, dark = page(polished).select("#fig-a img")
        assert day["class"] == ["only-light"]
        assert dark["class"] == ["only-dark"]
        assert day["alt"] == dark["alt"] == "What it shows"
        assert (day["width"], day["height"]) == (dark["width"], dark["height"]) == ("40", "30")
        assert "style" not in day.attrs
        assert Image.open(file_of(polished, dark["src"])).getpixel((0, 0)) == (0, 0, 0)

    def test_its_data_stand_below_it_and_whole_in_a_file(self, polished):
        details = page(polished).select_one("#fig-a details.vc-data")
        assert details.summary.get_text() == "Data behind this figure"
        assert [th.get_text() for th in details.select("th[scope=col]")] == [
            "series", "time (s)", "rate (Hz)",
        ]  # fmt: skip
        body = details.select("tbody tr")
        assert len(body) == polish.MOST_ROWS
        assert [td.get_text() for td in body[-1].find_all("td")] == ["a", "99", "198"]
        caption = details.select_one("caption")
        assert "100 rows, 60 of them here" in caption.get_text()
        assert file_of(polished, caption.a["href"]).read_text() == CSV
        region = details.select_one("[role=region]")
        assert (region["tabindex"], region["aria-label"]) == ("0", "Rates")

    def test_figures_are_numbered_within_their_chapter_and_references_follow(self, polished):
        soup = page(polished)
        assert soup.select_one(".caption-number").get_text() == "Figure 05b.1 "
        assert soup.select_one(".std-numref").get_text() == "Figure 05b.1"

    def test_a_fault_of_the_kernel_is_handed_on(self, tmp_path):
        book = make(tmp_path, ["tables: ValueError: no such luck"])
        polish.polish(book)
        assert page(book).select_one("#fig-a img")["data-fault"].endswith("no such luck")


class TestRest:
    def test_explorables_load_their_pictures_from_files(self, polished):
        box = page(polished).select_one(".vc-explorable")
        assert "data:" not in str(box)
        (frame,) = json.loads(box.script.string)["frames"]
        assert frame["said"] == "a </b>"
        assert "</b>" not in box.script.string
        assert file_of(polished, frame["day"]) == file_of(polished, box.img["src"])
        assert Image.open(file_of(polished, frame["night"])).getpixel((0, 0)) == (0, 0, 128)
        assert (box.img["width"], box.img["height"]) == ("80", "60")

    def test_the_cover_stands_under_the_title_and_on_the_front_page(self, polished):
        figure = page(polished).article.h1.find_next_sibling()
        assert figure["class"] == ["vc-cover"]
        assert [image["class"] for image in figure.find_all("img")] == [
            ["only-light"],
            ["only-dark"],
        ]
        front = page(polished, "book/index").select("div.vc-cover img")
        files = [(polished.site / "book" / image["src"]).resolve() for image in front]
        assert files == [file_of(polished, image["src"]) for image in figure.find_all("img")]
        assert front[0]["alt"] == "A square"

    def test_a_place_for_a_cover_that_there_is_not_is_an_error(self, tmp_path):
        book = make(tmp_path)
        front = book.site / "book/index.html"
        front.write_text(front.read_text().replace("05b_x", "09_none"))
        with pytest.raises(BookError, match="09_none on book/index"):
            polish.polish(book)

    def test_the_page_has_one_title_names_and_no_name_twice(self, polished):
        soup = page(polished)
        assert len(soup.find_all("h1")) == 1
        assert soup.select_one("#pst-primary-sidebar")["role"] == "complementary"
        assert soup.select("#exercise-content") == []
        assert len(soup.select("section.exercise-content")) == 2
        assert len(soup.select("meta[name=viewport]")) == 1

    def test_a_wide_table_can_be_scrolled_by_keyboard(self, polished):
        box = page(polished).select_one(".text_html")
        assert box["tabindex"] == "0"
        assert box["role"] == "region"
        assert box["aria-label"] == "Table: Title"

    def test_a_second_time_changes_nothing(self, polished):
        files = [path for path in polished.site.rglob("*") if path.is_file()]
        before = {path: path.read_bytes() for path in files}
        polish.polish(polished)
        after = {p: p.read_bytes() for p in polished.site.rglob("*") if p.is_file()}
        assert after == before


class TestShowing:
    @pytest.fixture
    def shell(self, monkeypatch, root):
        from IPython.core.interactiveshell import InteractiveShell
        from IPython.core.pylabtools import select_figure_formats

        monkeypatch.setenv("BOOKPRESS_PAGE", "1")
        monkeypatch.setenv("BOOKPRESS_ROOT", str(root))
        shell = InteractiveShell()
        showing.install(shell)
        # as the style of the book does after; it forgets what is registered by type
        select_figure_formats(shell, {"retina"}, bbox_inches="tight")
        return shell

    @pytest.fixture
    def figure(self):
        figure, ax = plt.subplots(figsize=(2, 1))
        ax.plot([0, 1], [2, 3], color="#0b5c8a")
        figure.set_facecolor("#fbf9f4")
        yield figure
        plt.close(figure)

    def test_a_figure_takes_its_night_and_its_data_along(self, shell, figure):
        data, _ = shell.display_formatter.format(figure)
        sent = data[showing.MIMETYPE]
        assert sent["faults"] == []
        assert sent["tables"] == [{"caption": "(panel 1)", "csv": "x,y\n0,2\n1,3\n", "total": 2}]
        dark = Image.open(io.BytesIO(base64.b64decode(sent["night"].partition(",")[2])))
        day = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
        assert dark.size == day.size
        assert dark.convert("RGB").getpixel((0, 0)) == (0x13, 0x17, 0x1D)

    def test_nothing_else_does(self, shell):
        assert showing.MIMETYPE not in shell.display_formatter.format("words")[0]

    def test_a_fault_does_not_end_the_run(self, shell, figure, monkeypatch):
        def fail(figure, palette):
            raise ValueError("no such luck")

        monkeypatch.setattr(night, "by_night", fail)
        sent = shell.display_formatter.format(figure)[0][showing.MIMETYPE]
        assert sent["faults"] == ["night: ValueError: no such luck"]
        assert sent["night"] is None
        assert len(sent["tables"]) == 1

    @pytest.mark.parametrize("environment", [{}, {"BOOKPRESS_PAGE": ""}])
    def test_where_no_page_is_made_figures_are_shown_as_ever(self, monkeypatch, environment):
        from IPython.core.interactiveshell import InteractiveShell

        monkeypatch.delenv("BOOKPRESS_PAGE", raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        shell = InteractiveShell()
        showing.install(shell)
        assert showing.MIMETYPE not in shell.display_formatter.formatters
