"""The page of a sweep: true to the runs, whole without a network, fit to be read by anyone."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from invented_sweeps import events, fail, plan, sweep

pytestmark = pytest.mark.press
bs4 = pytest.importorskip("bs4", reason="needs the press")

from bookpress import (  # noqa: E402
    sweep_colours,
    sweep_facts,
    sweep_figures,
    sweep_folder,
    sweep_layout,
    sweep_page,
)
from bookpress.book import BookError  # noqa: E402

AXES = {"seed": [0, 1, 2], "model": ["a", "b"]}
HEADINGS = ["What was run", "01 tiny", "What failed", "All runs"]


def page(out: Path) -> bs4.BeautifulSoup:
    return bs4.BeautifulSoup(sweep_page.write(out).read_text(), "html.parser")


def words(node: bs4.Tag) -> str:
    return " ".join(node.get_text(" ").split())


def laid_out(out: Path) -> sweep_layout.Layout:
    return sweep_layout.layout(sweep_folder.load(out), sweep_folder.manifest(out)["axes"])


def points(columns: list[int], values: list[float], **more: object) -> sweep_figures.Points:
    value = np.array(values, dtype=float)
    facts = {
        "column": np.array(columns),
        "group": np.zeros(len(columns), dtype=int),
        "value": value,
        "low": value - 0.1,
        "high": value + 0.1,
        "chance": np.zeros(len(columns)),
        "ceiling": np.full(len(columns), np.nan),
    }
    return sweep_figures.Points(**(facts | more))


def scale_of(svg: bs4.Tag) -> tuple[float, float]:
    """Return intercept and slope from height to score, as the printed scale of a figure has it."""
    marks = [t for t in svg.find_all("text") if t.get("text-anchor") == "end"]
    heights = [float(t["y"]) - 4 for t in marks]
    scores = [float(t.string.replace("\N{MINUS SIGN}", "-")) for t in marks]
    slope, intercept = np.polyfit(heights, scores, 1)
    return intercept, slope


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A sweep with runs in every state, and with texts that are no friends of HTML."""
    out = tmp_path / "mixed <b>"
    folders = sweep(out, AXES, n_claims=8, score=lambda p, k: 0.3 + 0.1 * p["seed"] + 0.01 * k)
    fail(folders[1], message='<script>alert("1")</script> & more', source="x = '<b>' & \"y\"")
    shutil.rmtree(folders[2])
    (folders[3] / "run.json").write_text("{")
    faulty = {"chapter": "01_tiny", "run": "sede=1", "given": {"sede": 1}}
    plan(out, [faulty | {"parameters": {"seed": 0, "sede": 1}, "fault": "unknown 'sede'\ntable"}])
    return out


class TestWhole:
    def test_nothing_is_fetched_from_elsewhere(self, mixed):
        soup = page(mixed)
        assert soup.find_all(["img", "iframe", "object", "embed"]) == []
        assert [s.get("src") for s in soup.find_all("script")] == [None]
        assert [link["href"] for link in soup.find_all("link")] == ["data:,"]
        urls = re.findall(r"\w+://[^\"' )]+", str(soup))
        assert set(urls) <= {"http://www.w3.org/2000/svg"}
        assert "@import" not in str(soup)
        assert "url(" not in str(soup)

    def test_links_are_relative_and_lead_to_files_or_parts_that_exist(self, mixed):
        soup = page(mixed)
        links = [a["href"] for a in soup.find_all("a")]
        inside = {href[1:] for href in links if href.startswith("#")}
        assert inside <= {node["id"] for node in soup.find_all(id=True)}
        files = [unquote(href) for href in links if not href.startswith("#")]
        assert files
        assert all((mixed / file).is_file() for file in files)

    def test_every_file_of_a_run_has_a_link(self, mixed):
        linked = {unquote(a["href"]) for a in page(mixed).select("table.runs a")}
        kept = {
            str(p.relative_to(mixed))
            for name in ("notebook.ipynb", "claims.json", "log.txt")
            for p in mixed.rglob(name)
        }
        assert linked == kept

    def test_equal_folders_make_equal_pages(self, tmp_path):
        for folder in ("one", "two"):
            sweep(tmp_path / folder / "same", AXES)
        one, two = (sweep_page.write(tmp_path / f / "same").read_text() for f in ("one", "two"))
        assert one == two

    def test_a_folder_that_is_no_sweep_is_refused(self, tmp_path):
        with pytest.raises(BookError, match="No sweep.json"):
            sweep_page.write(tmp_path)
        assert list(tmp_path.iterdir()) == []


class TestReadable:
    def test_headings_go_down_by_one_and_name_their_sections(self, mixed):
        soup = page(mixed)
        levels = [int(h.name[1]) for h in soup.find_all(re.compile("^h[1-6]$"))]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))
        assert [words(h) for h in soup.find_all("h2")] == HEADINGS
        for section in soup.find_all("section"):
            assert soup.find(id=section["aria-labelledby"]).name == "h2"
        assert len(soup.find_all("main")) == 1
        assert soup.html["lang"] == "en"

    def test_no_name_of_a_part_is_given_twice(self, mixed):
        ids = [node["id"] for node in page(mixed).find_all(id=True)]
        assert len(ids) == len(set(ids))

    def test_tables_have_captions_and_their_heads_say_of_what(self, mixed):
        tables = page(mixed).find_all("table")
        assert len(tables) == 2
        for table in tables:
            assert words(table.caption)
            assert {th.get("scope") for th in table.find_all("th")} <= {"col", "row"}

    def test_each_figure_is_told_in_words_or_is_for_the_eye_alone(self, mixed):
        figures = page(mixed).find_all("figure")
        assert len(figures) == 8
        for figure in figures:
            assert words(figure.figcaption)
            assert figure.svg["role"] == "img"
            assert "Medians: a: 0." in figure.svg["aria-label"]
            assert "chance 0.25, ceiling 0.9" in figure.svg["aria-label"]

    def test_six_claims_are_drawn_large_and_the_others_are_folded_away(self, mixed):
        soup = page(mixed)
        folded = soup.find("details").find_all("figure")
        assert [words(f.figcaption.strong) for f in folded] == ["claim 6", "claim 7"]
        first = [words(f.figcaption.strong) for f in soup.find_all("figure")[:6]]
        assert first == [f"claim {k}" for k in range(6)]

    def test_texts_of_runs_are_shown_not_obeyed(self, mixed):
        soup = page(mixed)
        assert len(soup.find_all("script")) == 1
        assert soup.find("b") is None
        shown = [pre.get_text() for pre in soup.select(".failures pre")]
        assert 'ValueError: <script>alert("1")</script> & more' in shown
        assert "x = '<b>' & \"y\"" in shown
        assert words(soup.h1) == "mixed <b>"

    @pytest.mark.parametrize("theme", ["light", "dark"])
    def test_text_stands_out_from_its_ground(self, mixed, theme):
        style = page(mixed).style.string
        rules = style.split("@media (prefers-color-scheme: dark)")
        colours = dict(re.findall(r"--(\w+): #(\w{6})", rules[theme == "dark"]))
        for text in ("ink", "soft", "accent", "warm", "bad"):
            for ground in ("paper", "raised", "sunk"):
                assert contrast_of(colours[text], colours[ground]) >= 4.5, (text, ground)
        for k in range(sweep_figures.N_COLOURS):
            assert contrast_of(colours[f"g{k}"], colours["paper"]) >= 3


def contrast_of(first: str, second: str) -> float:
    channels = [
        np.array([int(c[k : k + 2], 16) for k in (0, 2, 4)], dtype=float) for c in (first, second)
    ]
    return sweep_colours.contrast(*channels)


class TestColours:
    def test_contrast_is_that_of_the_guidelines(self):
        assert contrast_of("000000", "ffffff") == pytest.approx(21)
        assert contrast_of("777777", "ffffff") == pytest.approx(4.48, abs=0.005)
        assert contrast_of("ff0000", "ff0000") == 1

    @pytest.mark.parametrize("ground", ["ffffff", "000000"])
    def test_a_colour_is_changed_no_more_than_it_needs(self, ground):
        hard, easy = ("ffff00", "0000ff") if ground == "ffffff" else ("0000ff", "ffff00")
        assert contrast_of(easy, ground) > 4.5 > contrast_of(hard, ground)
        assert sweep_colours.readable(easy, ground, 4.5) == easy
        assert 4.5 <= contrast_of(sweep_colours.readable(hard, ground, 4.5), ground) < 5.5

    def test_a_style_sheet_gives_the_colours(self, tmp_path):
        style = tmp_path / "own.mplstyle"
        style.write_text("axes.prop_cycle: cycler('color', ['112233', 'r'])\n")
        assert sweep_colours.palette(style) == ["112233", "ff0000"] * 3
        sweep(tmp_path / "out", {})
        assert "--g0: #112233" in sweep_page.render(tmp_path / "out", style)

    def test_those_of_the_book_are_taken_as_they_are(self, root):
        style = root / "lib" / "visualcortex" / "style" / "visualcortex.mplstyle"
        assert tuple(sweep_colours.palette(style)) == sweep_colours.COLOURS


class TestScores:
    def test_marks_stand_at_their_scores_on_the_printed_scale(self, tmp_path):
        wanted = {"a": 0.4, "b": 0.65}
        sweep(tmp_path, {"model": ["a", "b"]}, n_claims=1, score=lambda p, k: wanted[p["model"]])
        svg = page(tmp_path).figure.svg
        intercept, slope = scale_of(svg)
        for mark in svg.select("g.pt path"):
            model, score = re.match(r"model=(\w): ([\d.]+)", mark.title.string).groups()
            height = float(re.match(r"M[\d.]+ ([\d.]+)", mark["d"])[1])
            assert float(score) == wanted[model]
            assert intercept + slope * height == pytest.approx(wanted[model], abs=0.002)

    def test_intervals_chance_and_ceiling_stand_there_too(self, tmp_path):
        sweep(tmp_path, {"model": ["a", "b"]}, n_claims=1)
        svg = page(tmp_path).figure.svg
        intercept, slope = scale_of(svg)

        def score(path: str) -> list[float]:
            """Return the scores at which the vertical ends of a path stand."""
            ends = re.search(r"M[\d.]+ ([\d.]+)(?:V([\d.]+))?", path).groups()
            return [intercept + slope * float(end) for end in ends if end]

        assert score(svg.select_one(".iv")["d"]) == pytest.approx([0.45, 0.55], abs=0.002)
        assert score(svg.select_one(".chance")["d"]) == pytest.approx([0.25], abs=0.002)
        assert score(svg.select_one(".ceiling")["d"]) == pytest.approx([0.9], abs=0.002)

    def test_medians_and_their_span_are_those_of_the_seeds(self, tmp_path):
        scores = {0: 0.3, 1: 0.9, 2: 0.4}
        sweep(tmp_path, AXES, n_claims=1, score=lambda p, k: scores[p["seed"]])
        recorded = sweep_layout.claims_of(sweep_folder.load(tmp_path), "claim_0")
        found = sweep_layout.points(recorded, laid_out(tmp_path), named=False)
        for middle in sweep_layout.middles(found):
            assert (middle.median, middle.low, middle.high, middle.n) == (0.4, 0.3, 0.9, 3)
            assert middle.coverage == 1 - 2 ** (1 - 3)
        assert "probability of 75\N{NO-BREAK SPACE}%" in page(tmp_path).get_text()

    def test_if_only_seeds_differ_each_claim_is_a_row(self, tmp_path):
        sweep(tmp_path, {"seed": range(5)}, score=lambda p, k: 0.1 * p["seed"] + 0.01 * k)
        soup = page(tmp_path)
        assert soup.find("figure") is None
        rows = [
            [words(c) for c in row.find_all(["th", "td"])] for row in soup.select(".strip tbody tr")
        ]
        assert rows == [
            ["claim 0", "", "0.2", "0 to 0.4", "0.25", "0.9", "5"],
            ["claim 1", "", "0.21", "0.01 to 0.41", "0.25", "0.9", "5"],
        ]

    def test_claims_of_other_units_or_sizes_have_a_scale_of_their_own(self, tmp_path):
        (folder,) = sweep(tmp_path, {}, n_claims=3, score=lambda p, k: [0.5, 0.6, 300][k])
        kept = json.loads((folder / "claims.json").read_text())
        kept["claims"][1]["unit"] = "dB"
        (folder / "claims.json").write_text(json.dumps(kept))
        captions = [words(t.caption) for t in page(tmp_path).select("table.strip")]
        assert captions == ["of trials", "dB", "of trials"]

    def test_a_single_run_shows_its_own_interval(self, tmp_path):
        sweep(tmp_path, {}, n_claims=1)
        soup = page(tmp_path)
        assert "its interval 0.45 to 0.55" in words(soup.select_one(".strip")).replace(
            "chance ceiling runs claim 0 0.5 ", ""
        )
        assert "Each choice was run once" in soup.get_text()

    def test_an_interval_that_runs_away_does_not_flatten_the_others(self):
        far = points([0, 1], [0.4, 0.6], low=np.array([0.3, -1000.0]), high=np.array([0.5, 0.7]))
        low, high = sweep_figures.extent(far)
        assert low > -1
        assert high > 0.7

    @pytest.mark.parametrize(
        "values", [[0.0], [5.0, 5.0], [1e300, -1e300], [1e-12, 2e-12], [1.0, 1.0 + 2e-16]]
    )
    def test_any_finite_score_can_be_drawn(self, tmp_path, values):
        axes = {"k": list(range(len(values)))}
        sweep(tmp_path, axes, n_claims=1, score=lambda p, k: values[p["k"]])
        drawn = str(page(tmp_path).main)
        assert not re.search(r"\b(nan|inf)\b", drawn, re.IGNORECASE)

    def test_no_mark_leaves_its_figure(self, tmp_path):
        axes = {"n": [1, 2, 3, 500], "model": list("abcdefg"), "seed": [0, 1]}
        sweep(tmp_path, axes, n_claims=1, score=lambda p, k: np.sin(p["n"]) + p["seed"])
        svg = page(tmp_path).figure.svg
        width, height = (float(x) for x in svg["viewbox"].split()[2:])
        marks = re.findall(r'd="M([\d.-]+) ([\d.-]+)', str(svg))
        assert all(0 <= float(x) <= width and 0 <= float(y) <= height for x, y in marks)


class TestAxis:
    def test_numbers_stand_to_scale(self):
        at = sweep_figures.axis_of("n", [1, 2, 4]).at
        assert (at[2] - at[1]) / (at[1] - at[0]) == pytest.approx(2)
        assert at[0] == pytest.approx(0.5 * (at[1] - at[0]))

    def test_numbers_over_a_wide_range_stand_to_a_logarithmic_scale_that_is_named(self):
        axis = sweep_figures.axis_of("n", [1, 10, 100])
        assert axis.log
        np.testing.assert_allclose(np.diff(axis.at), 1 / 3)
        drawn = sweep_figures.panel(
            axis, points([0, 1, 2], [0, 1, 2]), [], title="", description=""
        )
        assert "n (logarithmic)" in drawn

    def test_even_numbers_stay_on_a_plain_scale_and_negative_ones_too(self):
        assert not sweep_figures.axis_of("n", list(range(1, 11))).log
        assert not sweep_figures.axis_of("n", [-1, 10, 1000]).log

    def test_names_stand_evenly(self):
        axis = sweep_figures.axis_of("model", ["a", "b", True])
        np.testing.assert_allclose(axis.at, [1 / 6, 3 / 6, 5 / 6])
        assert not axis.numeric
        assert axis.labels == ("a", "b", "yes")

    @pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.03, 0.04), (12, 13000), (1e-9, 3e-9)])
    def test_ticks_are_round_even_and_within(self, low, high):
        found = np.array(sweep_figures.ticks(low, high))
        steps = np.diff(found)
        assert 3 <= len(found) <= 9
        assert (found >= low - 1e-12).all()
        assert (found <= high * (1 + 1e-12)).all()
        np.testing.assert_allclose(steps, steps[0])
        assert f"{steps[0]:.0e}"[0] in "125"

    @pytest.mark.parametrize(
        ("low", "high", "texts"),
        [
            (0, 1, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
            (0.9991, 0.9999, ["0.9992", "0.9994", "0.9996", "0.9998"]),
            (-110, 110, ["\N{MINUS SIGN}100", "\N{MINUS SIGN}50", "0", "50", "100"]),
            (1e6, 1.5e6, ["1e+06", "1.1e+06", "1.2e+06", "1.3e+06", "1.4e+06", "1.5e+06"]),
        ],
    )
    def test_printed_ticks_can_be_told_apart(self, low, high, texts):
        assert sweep_figures.tick_texts(sweep_figures.ticks(low, high)) == texts


class TestLayout:
    def test_the_numeric_parameter_is_the_axis_and_the_other_the_groups(self, tmp_path):
        sweep(tmp_path, {"model": ["a", "b", "c"], "n": [20, 10], "seed": [0, 1]})
        found = laid_out(tmp_path)
        assert found.axis.name == "n"
        assert found.axis.labels == ("10", "20")
        assert found.groups == ("model a", "model b", "model c")
        for run in sweep_folder.load(tmp_path):
            n, model = run.parameters["n"], run.parameters["model"]
            assert found.place[run.run] == ([10, 20].index(n), "abc".index(model))

    def test_parameters_that_change_together_make_one_axis(self, tmp_path):
        folders = sweep(tmp_path, {"dataset": ["x", "y"], "seed": [0, 1]}, fixed={"epochs": 0})
        manifest = json.loads((tmp_path / "sweep.json").read_text())
        for entry, folder in zip(manifest["runs"], folders, strict=True):
            entry["parameters"]["epochs"] = 10 if entry["parameters"]["dataset"] == "x" else 20
            report = json.loads((folder / "run.json").read_text())
            report["parameters"] = entry["parameters"]
            (folder / "run.json").write_text(json.dumps(report))
        manifest["axes"] = ["dataset", "seed", "epochs"]
        (tmp_path / "sweep.json").write_text(json.dumps(manifest))
        found = laid_out(tmp_path)
        assert (found.axis.name, found.groups, found.tied) == ("dataset", ("",), ("epochs",))
        assert "With dataset change also: epochs." in page(tmp_path).get_text()

    def test_too_many_groups_are_pooled_and_that_is_said(self, tmp_path):
        axes = {"n": [1, 2, 3, 4, 5], "depth": [1, 2, 3, 4], "rate": [0.1, 0.2, 0.3, 0.4]}
        sweep(tmp_path, axes, n_claims=1)
        found = laid_out(tmp_path)
        assert found.axis.name == "n"
        assert len(found.groups) == 4
        assert found.pooled == ("rate",)
        told = words(page(tmp_path).select_one(".notes"))
        assert "span of 4 runs, which differ also in rate" in told
        assert "probability" not in told

    def test_a_claim_that_some_runs_lack_is_drawn_from_the_others(self, tmp_path):
        folders = sweep(tmp_path, {"model": ["a", "b"]}, n_claims=2)
        kept = json.loads((folders[0] / "claims.json").read_text())
        (folders[0] / "claims.json").write_text(json.dumps({"claims": kept["claims"][:1]}))
        figures = page(tmp_path).find_all("figure")
        assert len(figures[0].select("g.pt path")) == 2
        assert len(figures[1].select("g.pt path")) == 1
        assert "1 of the runs did not record it" in words(figures[1])


class TestFacts:
    def test_the_states_are_counted(self, mixed):
        cards = {words(c.span): words(c.strong) for c in page(mixed).select(".card")}
        told = {k: cards[k] for k in ("done", "failed", "damaged", "refused", "not yet run")}
        assert told == {
            "done": "3",
            "failed": "1",
            "damaged": "1",
            "refused": "1",
            "not yet run": "1",
        }

    def test_time_is_counted_within_calls_not_between_them(self, tmp_path):
        for folder in sweep(tmp_path, {"seed": [0, 1]}):
            report = json.loads((folder / "run.json").read_text())
            report |= {"duration_s": 90.0, "cpus": 2.0}
            (folder / "run.json").write_text(json.dumps(report))
        events(
            tmp_path,
            ("2026-03-01T10:00:00+00:00", "begun"),
            ("2026-03-01T10:01:00+00:00", "done"),
            ("2026-03-02T10:00:00+00:00", "resumed"),
            ("2026-03-02T10:02:00+00:00", "ended"),
        )
        with (tmp_path / "events.jsonl").open("a") as log:
            log.write('{"time": "2026-03-0')
        told = dict(sweep_facts.pace(tmp_path, sweep_folder.load(tmp_path)))
        assert told == {
            "by the clock": "3 min 00 s",
            "on processors": "6 min 00 s",
            "runs an hour": "40",
        }

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [
            (0, "0.0 s"),
            (59.96, "1 min 00 s"),
            (200, "3 min 20 s"),
            (3599.9, "1 h 00 min"),
            (7500, "2 h 05 min"),
        ],
    )
    def test_durations_read_as_people_say_them(self, seconds, text):
        assert sweep_facts.duration(seconds) == text

    def test_runs_of_several_commits_are_seen(self, tmp_path):
        folder = sweep(tmp_path, {"seed": [0, 1]})[1]
        report = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(report | {"commit": "another"}))
        facts = dict(
            zip(
                *([map(words, page(tmp_path).select(f".facts {t}")) for t in ("dt", "dd")]),
                strict=True,
            )
        )
        assert facts["commit"] == "0123456789, another"
        assert facts["seed"] == "0, 1"
        assert facts["each run"] == "1 processor, 4 GB of memory at most"

    def test_each_chapter_has_code_of_its_own(self, tmp_path):
        sweep(tmp_path, {"seed": [0, 1]})
        sweep(tmp_path, {"seed": [0, 1]}, chapter="02_other")
        told = dict(sweep_facts.facts({}, sweep_folder.load(tmp_path), []))
        assert told["code"] == ["c0de (01_tiny)", "c0de (02_other)"]
        assert told["chapters"] == ["01_tiny", "02_other"]

    def test_an_error_that_ended_many_runs_is_told_once(self, tmp_path):
        for k, folder in enumerate(sweep(tmp_path, {"seed": range(9)})):
            fail(folder, message="again" if k else "once")
        rows = page(tmp_path).select(".failures tbody tr")
        assert len(rows) == 2
        assert "ValueError: again" in words(rows[0])
        assert [words(li) for li in rows[0].select("li")] == [f"seed {k} log" for k in range(1, 9)]
        assert "cell 7" in words(rows[0])
        assert "fit(x)" in words(rows[0])

    def test_bars_are_shares_of_the_longest_run_and_of_the_memory_allowed(self, tmp_path):
        for k, folder in enumerate(sweep(tmp_path, {"seed": [0, 1]}), 1):
            report = json.loads((folder / "run.json").read_text())
            report |= {"duration_s": 10.0 * k, "peak_memory_bytes": 1e9 * k}
            (folder / "run.json").write_text(json.dumps(report))
        bars = [i["style"] for i in page(tmp_path).select("table.runs i")]
        assert bars == ["--w:50.0%", "--w:25.0%", "--w:100.0%", "--w:50.0%"]


class TestExtremes:
    def test_nothing_has_been_run_yet(self, tmp_path):
        for folder in sweep(tmp_path, AXES):
            shutil.rmtree(folder)
        text = words(page(tmp_path))
        assert "None of 6 runs is done." in text
        assert text.count("not yet run") >= 6

    def test_all_runs_failed(self, tmp_path):
        for folder in sweep(tmp_path, AXES):
            fail(folder)
        soup = page(tmp_path)
        assert soup.find("figure") is None
        assert "None of 6 runs is done." in words(soup)

    def test_runs_that_recorded_no_claim(self, tmp_path):
        sweep(tmp_path, AXES, n_claims=0)
        assert "No run recorded a claim." in words(page(tmp_path))

    def test_a_plan_of_no_runs(self, tmp_path):
        plan(tmp_path, [])
        assert [words(h) for h in page(tmp_path).find_all("h2")] == ["What was run", "All runs"]

    @pytest.mark.long
    def test_a_large_sweep_makes_a_page_that_a_browser_takes(self, tmp_path):
        axes = {"n": [10, 20, 40, 80, 160], "model": list("abcde"), "seed": range(20)}
        sweep(tmp_path, axes, n_claims=40, score=lambda p, k: 0.01 * (p["seed"] + k))
        text = sweep_page.write(tmp_path).read_text()
        assert text.count("<figure") == 40
        assert len(text) < 5e6
