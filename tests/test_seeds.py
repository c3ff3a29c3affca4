"""Claims over seeds: the interval of the median, what a sweep leaves, and the page made of it."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.press
pytest.importorskip("papermill", reason="needs the press")

import nbformat  # noqa: E402
from bs4 import BeautifulSoup  # noqa: E402
from scipy import stats  # noqa: E402

from bookpress import results, seeds, seeds_page  # noqa: E402
from bookpress.book import Book, BookError  # noqa: E402
from bookpress.seeds_figure import Row, figure, strip  # noqa: E402

SEEDS = [1000, 2000, 3000, 4000, 5000, 6000]
VALUES = [0.1, 0.3, 0.2, 0.6, 0.5, 0.4]


class TestInterval:
    @pytest.mark.parametrize("n", [*range(1, 40), 200, 1001])
    def test_it_is_the_narrowest_that_covers(self, n):
        median, low, high, covered = seeds.over_seeds(list(range(n)))
        assert median == (n - 1) / 2
        assert low + high == n - 1, "as many values lie below as above"
        beyond = stats.binom.cdf([low, low + 1], n, 0.5)
        assert covered == pytest.approx(1 - 2 * beyond[0], abs=1e-12)
        assert covered >= 0.95 or low == 0
        assert 1 - 2 * beyond[1] < 0.95 or low + 1 > (n - 1) / 2, "a narrower one would not cover"

    @pytest.mark.parametrize("n", range(1, 9))
    def test_few_values_reach_from_the_lowest_to_the_highest(self, n):
        values = np.random.default_rng(n).permutation(n).tolist()
        assert seeds.over_seeds(values)[1:] == (0, n - 1, 1 - 2.0 ** (1 - n))

    @pytest.mark.parametrize("n", [3, 6, 17])
    @pytest.mark.parametrize("law", [stats.expon(), stats.lognorm(1.5), stats.beta(0.3, 2)])
    def test_it_covers_the_median_of_skewed_laws_as_often_as_it_says(self, law, n):
        draws = law.rvs((4000, n), random_state=n)
        found = np.array([seeds.over_seeds(row) for row in draws.tolist()])
        covered = np.mean((found[:, 1] <= law.median()) & (law.median() <= found[:, 2]))
        said = found[0, 3]
        assert covered == pytest.approx(said, abs=4 * np.sqrt(said * (1 - said) / 4000))

    def test_ties_make_it_cover_more_often(self):
        draws = stats.poisson(2).rvs((4000, 6), random_state=0)
        found = np.array([seeds.over_seeds(row) for row in draws.tolist()])
        assert np.mean((found[:, 1] <= 2) & (2 <= found[:, 2])) > found[0, 3]

    @pytest.mark.parametrize("values", [[], [0.1, float("nan")], [float("inf")]])
    def test_what_is_no_number_is_refused(self, values):
        with pytest.raises(BookError, match="finite numbers, at least one"):
            seeds.over_seeds(values)

    def test_how_many_are_expected_inside(self):
        one, other = np.random.default_rng(0).normal(size=(2, 400_000))
        inside = np.mean(np.abs(one - other) < stats.norm.ppf(0.975))
        assert seeds_page.EXPECTED_INSIDE == pytest.approx(inside, abs=0.003)


def claim(name: str, value: float, **other: object) -> dict:
    facts = {"low": value - 0.1, "high": value + 0.1, "chance": 0.0, "ceiling": 1.0}
    return {"name": name, "value": value, "unit": "a.u.", "n": 9} | facts | other


def planned(book: Book, seed: int, **other: object) -> dict:
    values = seeds.defaults(book, "01_tiny") | {"seed": seed} | other
    given = {"seed": seed} | other
    run = f"seed={seed},0a1b2c3d"
    return {"chapter": "01_tiny", "run": run, "given": given, "parameters": values, "fault": None}


def write_run(out: Path, book: Book, run: dict, claims: list[dict], **other: object) -> None:
    folder = out / "runs" / run["chapter"] / run["run"]
    folder.mkdir(parents=True)
    seed = run["given"]["seed"]
    ended = {
        "state": "done",
        "commit": "0123456789",
        "code_hash": book.code_hash("01_tiny"),
        "lock_hash": book.lock_hash(),
        "host": "a-machine",
        "duration_s": seed / 100,
        "peak_memory_bytes": 2e8,
        "error": None,
    }
    (folder / "run.json").write_text(json.dumps(run | ended | other))
    (folder / "claims.json").write_text(json.dumps({"claims": claims}))


def write_manifest(out: Path, runs: list[dict], axes: tuple[str, ...] = ("seed",)) -> None:
    manifest = {"version": 1, "name": "over_seeds", "axes": axes, "runs": runs}
    (out / "sweep.json").write_text(json.dumps(manifest))


@pytest.fixture
def out(tmp_path, tiny_book) -> Path:
    """A finished sweep over six seeds; of two claims the second lacks a ceiling."""
    out = tmp_path / "sweep"
    out.mkdir()
    runs = [planned(tiny_book, seed) for seed in SEEDS]
    for run, value in zip(runs, VALUES, strict=True):
        claims = [claim("mean_draw", value), claim("gain", value / 3, ceiling=None, unit="")]
        write_run(out, tiny_book, run, claims)
    write_manifest(out, runs)
    return out


def fail(out: Path, seed: int, **error: object) -> None:
    (path,) = out.glob(f"runs/01_tiny/seed={seed},*/run.json")
    ended = json.loads(path.read_text()) | {"state": "failed", "error": error}
    path.write_text(json.dumps(ended))


class TestSummarise:
    def test_numbers_go_in_the_order_of_the_seeds(self, tiny_book, out):
        (path,) = seeds.summarise(tiny_book, out)
        assert path == tiny_book.results / "across_seeds" / "01_tiny.json"
        kept = seeds.load(tiny_book)["01_tiny"]
        assert kept["seeds"] == SEEDS
        assert kept["claims"]["mean_draw"] == {
            "unit": "a.u.",
            "values": VALUES,
            "lows": pytest.approx([v - 0.1 for v in VALUES], abs=1e-6),
            "highs": pytest.approx([v + 0.1 for v in VALUES]),
            "chance": [0.0] * 6,
            "ceiling": [1.0] * 6,
        }
        assert kept["claims"]["gain"]["ceiling"] == [None] * 6
        assert kept["claims"]["gain"]["values"][0] == 0.0333333, "six significant digits"
        assert kept["parameters"] == {"n_draws": 100, "dataset": "simulated"}
        assert (kept["duration_s"], kept["peak_memory_mb"]) == (35.0, 200.0)
        assert seeds.is_current(tiny_book, kept)

    def test_people_read_it_and_it_names_no_machine(self, tiny_book, out):
        (path,) = seeds.summarise(tiny_book, out)
        first = path.read_text()
        assert ' "seeds": [1000, 2000, 3000, 4000, 5000, 6000],\n' in first
        assert "a-machine" not in first
        seeds.summarise(tiny_book, out)
        assert path.read_text() == first

    def test_failed_seeds_are_told_without_their_message(self, tiny_book, out):
        fail(out, 2000, kind="error", cell=7, name="OSError", message="/some/where is full")
        fail(out, 4000, kind="memory", cell=None, name="", message="more than 4 GB")
        (path,) = seeds.summarise(tiny_book, out)
        kept = json.loads(path.read_text())
        assert kept["seeds"] == [1000, 3000, 5000, 6000]
        assert kept["failed"] == [
            {"seed": 2000, "error": "OSError in cell 7"},
            {"seed": 4000, "error": "memory"},
        ]
        assert kept["claims"]["mean_draw"]["values"] == [0.1, 0.2, 0.5, 0.4]
        assert "/some/where" not in path.read_text()

    def test_a_run_without_a_claim_leaves_a_gap(self, tiny_book, out):
        (path,) = out.glob("runs/01_tiny/seed=1000,*/claims.json")
        path.write_text(json.dumps({"claims": [claim("gain", 0.5)]}))
        seeds.summarise(tiny_book, out)
        kept = seeds.load(tiny_book)["01_tiny"]
        assert kept["claims"]["mean_draw"]["values"] == [None, *VALUES[1:]]

    def test_a_refused_run_is_a_failed_seed(self, tiny_book, out):
        refused = planned(tiny_book, 7000) | {"fault": "seed must lie in [0, 1000]"}
        runs = json.loads((out / "sweep.json").read_text())["runs"]
        write_manifest(out, [*runs, refused])
        seeds.summarise(tiny_book, out)
        assert seeds.load(tiny_book)["01_tiny"]["failed"] == [{"seed": 7000, "error": "refused"}]

    def test_all_seeds_may_fail(self, tiny_book, out):
        for seed in SEEDS:
            fail(out, seed, kind="killed", cell=3, name="", message="")
        seeds.summarise(tiny_book, out)
        assert seeds.load(tiny_book)["01_tiny"]["claims"] == {}
        assert "No seed finished. Seed 1000 failed: killed in cell 3." in markdown(tiny_book)

    @pytest.mark.parametrize(
        ("spoil", "fault"),
        [
            (lambda out: (out / "sweep.json").unlink(), "No sweep.json in"),
            (lambda out: (out / "sweep.json").write_text('{"runs'), "sweep.json is damaged"),
            (lambda out: shutil.rmtree(next(out.glob("runs/*/*"))), "1 runs are missing"),
            (lambda out: next(out.glob("runs/*/*/run.json")).write_text("{"), "runs are damaged"),
            (lambda out: next(out.glob("runs/*/*/claims.json")).unlink(), "no claims.json"),
            (lambda out: write_manifest(out, [], ("seed", "n_draws")), "varied seed, n_draws"),
        ],
    )
    def test_a_faulty_sweep_changes_nothing(self, tiny_book, out, spoil, fault):
        (path,) = seeds.summarise(tiny_book, out)
        before = path.read_text()
        spoil(out)
        with pytest.raises(BookError, match=fault):
            seeds.summarise(tiny_book, out)
        assert path.read_text() == before

    def test_other_parameters_are_refused(self, tiny_book, out):
        run = planned(tiny_book, 7000, n_draws=7)
        write_run(out, tiny_book, run, [])
        write_manifest(out, [run])
        with pytest.raises(BookError, match="with other n_draws than the chapter declares"):
            seeds.summarise(tiny_book, out)
        assert not (tiny_book.results / "across_seeds").exists()

    def test_code_that_changed_meanwhile_is_refused(self, tiny_book, out):
        run = planned(tiny_book, 7000)
        write_run(out, tiny_book, run, [claim("gain", 0.1)], code_hash="other")
        runs = json.loads((out / "sweep.json").read_text())["runs"]
        write_manifest(out, [*runs, run])
        with pytest.raises(BookError, match="2 different values of code_hash"):
            seeds.summarise(tiny_book, out)

    def test_it_is_no_run_of_a_chapter(self, tiny_book, out):
        seeds.summarise(tiny_book, out)
        assert results.load(tiny_book) == {}

    def test_a_damaged_summary_is_named(self, tiny_book, out):
        (path,) = seeds.summarise(tiny_book, out)
        path.write_text("{")
        with pytest.raises(BookError, match="01_tiny.json is damaged"):
            seeds.load(tiny_book)


class TestCells:
    def settings(self, book: Book, text: str) -> Book:
        (book.root / "pyproject.toml").write_text(f"[tool.bookpress]\n{text}\n")
        return Book(book.root)

    def test_chapters_that_take_no_seed_are_left_out(self, tiny_book):
        (tiny_book.notebooks / "data.py").write_text("# %%\nx = 1\n")
        book = self.settings(tiny_book, "seeds = [3, 1, 2]")
        cells = seeds.cells(book)
        assert [(cell.chapter, dict(cell.given)) for cell in cells] == [
            ("01_tiny", {"seed": 3}),
            ("01_tiny", {"seed": 1}),
            ("01_tiny", {"seed": 2}),
        ]

    def test_chapters_can_be_chosen_by_the_beginning_of_their_names(self, tiny_book):
        for name in ("02_other", "data"):
            (tiny_book.notebooks / f"{name}.py").write_text("# %%\nx = 1\n")
        book = self.settings(tiny_book, "seeds = [3]")
        assert [cell.chapter for cell in seeds.cells(book, ["01"])] == ["01_tiny"]
        with pytest.raises(BookError, match="05"):
            seeds.cells(book, ["05"])

    @pytest.mark.parametrize("text", ["", "seeds=3", "seeds=[]", "seeds=[1, 1]", "seeds=[1.5]"])
    def test_wrong_seeds_are_refused(self, tiny_book, text):
        with pytest.raises(BookError, match="must list different whole numbers"):
            seeds.cells(self.settings(tiny_book, text))

    def test_this_book_has_enough_seeds_for_the_level(self, root):
        book = Book(root)
        chapters, planned = seeds.chapters(book), book.settings["seeds"]
        assert {"01_mouse_decoding", "06b_calcium_connectivity"} <= set(chapters)
        assert seeds.over_seeds(planned)[-1] >= seeds.LEVEL
        every = sorted({*planned, *(seeds.defaults(book, c)["seed"] for c in chapters)})
        gaps = [b - a for a, b in itertools.pairwise(every) if {a, b} & set(planned)]
        assert min(gaps) >= 100, "chapters take a seed and the next ones, so seeds lie apart"


def notebook(book: Book) -> nbformat.NotebookNode:
    made = nbformat.reads(seeds_page.page(book), as_version=4)
    nbformat.validate(made)
    return made


def markdown(book: Book) -> str:
    return "\n".join(c.source for c in notebook(book).cells if c.cell_type == "markdown")


def glued(book: Book) -> dict[str, float]:
    outputs = [o for c in notebook(book).cells for o in c.get("outputs", [])]
    found = {o.metadata.scrapbook.name: o.data for o in outputs if "scrapbook" in o.metadata}
    return {name: float(*data.values()) for name, data in found.items()}


def printed_run(book: Book, *claims: dict) -> None:
    path = book.results / "01_tiny" / "default.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"claims": claims}))


class TestPage:
    def test_what_was_not_run_is_said_and_glues_nothing(self, tiny_book):
        assert "Not run over seeds yet" in markdown(tiny_book)
        assert glued(tiny_book) == {}

    def test_other_pages_find_their_numbers(self, tiny_book, out):
        seeds.summarise(tiny_book, out)
        assert glued(tiny_book) == {
            "01_tiny__n_seeds": 6,
            "01_tiny__coverage": 0.96875,
            "n_seeds_least": 6,
            "n_seeds_most": 6,
            "coverage_least": 0.96875,
            "01_tiny__mean_draw_median": pytest.approx(0.35),
            "01_tiny__mean_draw_seeds_low": 0.1,
            "01_tiny__mean_draw_seeds_high": 0.6,
            "01_tiny__gain_median": pytest.approx(0.35 / 3, abs=1e-6),
            "01_tiny__gain_seeds_low": 0.0333333,
            "01_tiny__gain_seeds_high": 0.2,
        }

    def test_seeds_are_counted_inside_the_printed_interval(self, tiny_book, out):
        seeds.summarise(tiny_book, out)
        printed_run(tiny_book, claim("mean_draw", 0.4))  # 0.4 - 0.1 is above 0.3 in binary
        page = markdown(tiny_book)
        row = next(line for line in page.splitlines() if line.startswith("| mean draw"))
        assert "| **0.4** [0.3 to 0.5]{.vc-range} | 3 of 6 |" in row
        assert "Of the values of all claims, 50% lie within the printed intervals" in page
        gain = next(line for line in page.splitlines() if line.startswith("| gain"))
        assert gain.endswith("| not recorded |  | 0 | none |")

    def test_a_gap_is_counted(self, tiny_book, out):
        (path,) = out.glob("runs/01_tiny/seed=1000,*/claims.json")
        path.write_text(json.dumps({"claims": [claim("gain", 0.5)]}))
        seeds.summarise(tiny_book, out)
        row = next(x for x in markdown(tiny_book).splitlines() if x.startswith("| mean draw"))
        assert "(5 seeds)" in row

    def test_old_numbers_are_marked(self, tiny_book, out):
        seeds.summarise(tiny_book, out)
        assert ", current." in markdown(tiny_book)
        script = tiny_book.notebooks / "01_tiny.py"
        script.write_text(script.read_text().replace("draws.std()", "draws.std(ddof=1)"))
        assert "**older than the code**" in markdown(tiny_book)

    def test_equal_results_make_equal_pages(self, tiny_book, out):
        seeds.summarise(tiny_book, out)
        assert seeds_page.page(tiny_book) == seeds_page.page(tiny_book)

    def test_claims_of_the_front_page_are_drawn_first(self, tiny_book, out):
        seeds.summarise(tiny_book, out)
        (tiny_book.root / "book" / "headlines.yaml").write_text(
            '"01":\n  heading: Tiny\n  chapters:\n    01_tiny:\n'
            "      - {claim: gain, words: Gain, decimals: 2}\n"
        )
        cell = notebook(tiny_book).cells[3]
        drawn = BeautifulSoup(cell.outputs[0].data["text/html"], "html.parser")
        folded = drawn.details.extract()
        assert [x.text for x in drawn.select(".vc-strip-name")] == ["gain"]
        assert [x.text for x in folded.select(".vc-strip-name")] == ["mean draw a.u."]


def row(**other: object) -> Row:
    facts = {
        "name": "two_words",
        "unit": "<a & b>",
        "values": {1: 0.25, 2: 0.75},
        "median": 0.5,
        "low": 0.25,
        "high": 0.75,
        "coverage": 0.5,
        "chance": 0.0,
        "ceiling": 1.0,
        "printed": {"value": 0.5, "low": 0.25, "high": 0.6},
    }
    return Row(**facts | other)


class TestStrip:
    def test_marks_stand_where_their_numbers_are(self):
        soup = BeautifulSoup(strip(row()), "html.parser")
        places = [float(dot["cx"].rstrip("%")) for dot in soup.select("circle")]
        assert places == pytest.approx([26, 74]), "chance stands at 2 %, the ceiling at 98 %"
        ends = {
            kind: [soup.select_one(f".{kind} line, line.{kind}")[x] for x in ("x1", "x2")]
            for kind in ("vc-chance", "vc-ceiling", "vc-median", "vc-printed")
        }
        assert ends == {
            "vc-chance": ["2.00%", "2.00%"],
            "vc-ceiling": ["98.00%", "98.00%"],
            "vc-median": ["26.00%", "74.00%"],
            "vc-printed": ["26.00%", "59.60%"],
        }

    def test_it_is_said_in_words(self):
        said = BeautifulSoup(strip(row()), "html.parser").svg["aria-label"]
        assert said.startswith("two words: median over 2 seeds 0.5, 0.25 to 0.75; printed run 0.5")
        assert "with 1 of the seeds inside; chance 0, ceiling 1" in said

    def test_what_is_missing_is_not_drawn(self):
        bare = strip(row(chance=None, ceiling=None, printed=None))
        assert not re.search("vc-(chance|ceiling|printed)", bare)
        assert "chance none, ceiling none" in bare

    def test_equal_numbers_stand_in_the_middle(self):
        flat = row(values={1: 3.0}, median=3, low=3, high=3, chance=None, ceiling=3, printed=None)
        soup = BeautifulSoup(strip(flat), "html.parser")
        assert {dot["cx"] for dot in soup.select("circle")} == {"50.00%"}

    def test_a_figure_explains_every_mark_and_escapes_units(self):
        drawn = figure("Claims <b>.", [row()])
        soup = BeautifulSoup(drawn, "html.parser")
        assert soup.select_one(".vc-strip-unit").text == "<a & b>"
        assert soup.figcaption.text.startswith("Claims <b>.")
        kinds = set(re.findall(r"vc-(?:seed|median|printed|chance|ceiling)\b", strip(row())))
        legend = str(soup.figcaption)
        assert len(kinds) == 5
        assert all(kind in legend for kind in kinds)
