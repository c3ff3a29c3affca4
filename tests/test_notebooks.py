"""The chapters as text: paired, in order, captioned, checked, and free of typed results."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.press
pytest.importorskip("jupytext", reason="needs the press")

from bookpress import notebooks, results, run  # noqa: E402
from bookpress.book import Book  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
BOOK = Book(ROOT)
SCRIPTS = BOOK.sources()
CHAPTERS = [s for s in SCRIPTS if s.stem[:2].isdigit()]
PARTS = [
    "parameters",
    "data",
    "model",
    "evaluation",
    "went wrong",
    "explore",
    "exercises",
    "falsify",
    "references",
]
GRADES = ["Warm-up", "Core", "Stretch"]
EXERCISE = re.compile(r"^`{3,}\{exercise\} (.*)\n:label: (\S+)$", re.MULTILINE)
SOLUTION = re.compile(r"^`{3,}\{solution-start\} (\S+)\n:class: dropdown$", re.MULTILINE)

# What is not prose: removed before the sentences are read.
NOT_PROSE = re.compile(
    r"^[ ]*(`{3,}|~{3,})(?!\{)(?=\w).*?^[ ]*\1[ ]*$"  # fenced code, but not what a directive holds
    r"|^[ ]*[`:@]{3,}[^\n]*$"  # the fences of directives
    r"|^[ ]*:[\w-]+:[^\n]*$"  # their options
    r"|^#[^\n]*$"  # headings
    r"|^[ ]*\d+\.(?=\s)"  # the numbers of a list
    r"|\$\$.*?\$\$|\$[^$]*\$",  # formulae
    re.MULTILINE | re.DOTALL,
)
CITATION = re.compile(r"\{cite[\w:]*\}`[^`]*`")
ALLOWED = re.compile(
    r"\{[\w:]+\}`[^`]*`"  # roles: glued numbers, terms, references
    r"|`[^`]*`"  # code
    r"|\]\([^)]*\)|<?https?://\S+"  # where links lead
    r"|\b95 ?%"  # the level of every interval
    r"|\b[Cc]hapters? \d\d[a-z]?\b"
)
DIGIT = re.compile(r"(?<![A-Za-z])\d")


def ids(paths: list[Path]) -> list[str]:
    return [p.stem for p in paths]


def typed_numbers(markdown: str) -> list[str]:
    """Return the sentences with a number that comes from no run, citation, code or formula.

    A sentence that cites its source may hold the source's numbers.
    """
    prose = NOT_PROSE.sub("", markdown)
    sentences = re.split(r"\n\s*\n|(?<=[.;:!?])\s", prose)
    uncited = [s for s in sentences if s and not CITATION.search(s)]
    return [s.strip() for s in uncited if DIGIT.search(ALLOWED.sub("", s))]


class TestLint:
    """The lint itself: what it must find, and what it must let pass."""

    @pytest.mark.parametrize(
        "text",
        [
            "The accuracy is 0.87.",
            "It reached 87 %.",
            "We had 498 trials.",
            "About 3-fold better.",
            "The mean was\n.12 after all.",
            "```{note}\nIt was 0.3.\n```",
            "As known {cite}`a2020`. We found 12.",
        ],
    )
    def test_typed_results_are_found(self, text):
        assert typed_numbers(text)

    @pytest.mark.parametrize(
        "text",
        [
            "The accuracy is {glue:text}`accuracy:.2f`.",
            "The recording holds 498 trials {cite}`gao2021neurogan`.",
            "A 95 % interval.",
            "With $x_1 = 2$ and `n=3`.",
            "# 05 Title",
            "[link](a05.md)",
            "1. First do this.",
            "```python\nx = 3\n```",
            "```{note}\n:class: x2 3\nText.\n```",
            "In chapter 05, V1 is simulated.",
        ],
    )
    def test_glued_cited_and_formal_numbers_pass(self, text):
        assert typed_numbers(text) == []


@pytest.mark.parametrize("script", SCRIPTS, ids=ids(SCRIPTS))
class TestEveryNotebook:
    def test_the_paired_notebook_is_equal_and_has_no_output(self, script):
        twin = script.with_suffix(".ipynb")
        assert twin.read_text() == notebooks.text(script), "run `bookpress sync`"

    def test_prose_types_no_result(self, script):
        cells = [c.source for c in notebooks.read(script).cells if c.cell_type == "markdown"]
        assert [s for cell in cells for s in typed_numbers(cell)] == []

    def test_every_figure_has_caption_text_and_a_check(self, script):
        cells = [c for c in notebooks.read(script).cells if c.cell_type == "code"]
        for cell, following in zip(cells, [*cells[1:], None], strict=True):
            shown = cell.metadata.get("mystnb", {})
            if "figure" not in shown:
                assert "plt." not in cell.source, f"a figure without caption: {cell.source[:80]}"
                continue
            where = shown["figure"]["name"]
            assert len(shown["figure"]["caption"]) > 40, where
            assert len(shown["image"]["alt"]) > 40, where
            assert not DIGIT.search(shown["figure"]["caption"].replace("95 %", "")), where
            checks = cell.source + "\n" + (following.source if following is not None else "")
            assert any(isinstance(n, ast.Assert) for n in ast.walk(ast.parse(checks))), where

    def test_cells_are_short_and_announced(self, script):
        cells = notebooks.read(script).cells
        for before, cell in zip(cells, cells[1:], strict=False):
            if cell.cell_type == "code":
                where = cell.source[:60]
                hidden = {"hide-input", "remove-cell"} & set(cell.metadata.get("tags", []))
                longest = max(map(len, cell.source.splitlines()))
                assert hidden or longest <= 92, f"{where}: cut off on the page"
                assert len(cell.source.splitlines()) <= 25, where
                assert before.cell_type == "markdown" or hidden or "assert" in cell.source, where


@pytest.mark.parametrize("script", CHAPTERS, ids=ids(CHAPTERS))
class TestChapters:
    def test_sections_stand_in_the_order_of_the_book(self, script):
        markdown = [c.source for c in notebooks.read(script).cells if c.cell_type == "markdown"]
        heads = [line for text in markdown for line in text.splitlines() if line.startswith("## ")]
        places = [next(k for k, h in enumerate(heads) if part in h.lower()) for part in PARTS]
        assert places == sorted(places)

    def test_the_opening_says_question_dataset_aims_and_time(self, script):
        opening = notebooks.read(script).cells[0].source.lower()
        for word in ("question", "dataset", "you will learn", "you need", "time to run"):
            assert word in opening

    def test_parameters_are_declared_and_checked_before_work(self, script):
        notebook = notebooks.read(script)
        assert {"dataset", "seed"} <= {p.name for p in notebooks.declared(notebook, script.stem)}
        assert f'bookpress.begin("{script.stem}")' in script.read_text()

    def test_claims_are_recorded(self, script):
        assert "run.record(" in script.read_text()

    def test_exercises_have_three_grades_from_light_to_heavy(self, script):
        titles = [title for title, _ in EXERCISE.findall(markdown_of(script))]
        grades = [title.partition(": ")[0] for title in titles]
        assert set(grades) == set(GRADES), titles
        assert grades == sorted(grades, key=GRADES.index), titles

    def test_every_exercise_has_a_folded_solution_that_is_executed(self, script):
        labels = [label for _, label in EXERCISE.findall(markdown_of(script))]
        open_, shown = None, {}  # which solution code belongs to, and the code of each
        for cell in notebooks.read(script).cells:
            if cell.cell_type == "code" and open_:
                shown[open_].append(cell.source)
            if cell.cell_type != "markdown":
                continue
            if "{solution-end}" in cell.source:
                open_ = None
            for label in SOLUTION.findall(cell.source):
                open_, shown[label] = label, []
        assert list(shown) == labels
        assert [label for label, code in shown.items() if not says_something(code)] == []

    def test_there_is_something_to_explore_and_a_cover(self, script):
        number = script.stem.partition("_")[0]
        views, covers = calls_of(script, "explorable"), calls_of(script, "cover")
        assert views
        assert len(covers) == 1
        for call, tags in views:
            said = {word.arg: ast.unparse(word.value) for word in call.keywords}
            assert said["name"].strip("'").startswith(f"explore-{number}"), said["name"]
            assert len(said["caption"]) > 40, said["name"]
            assert not DIGIT.search(said["caption"].replace("95 %", "")), said["name"]
            assert not tags & {"remove-output", "remove-cell"}, said["name"]
        assert covers[0][1] == {"remove-cell"}

    def test_what_would_falsify_it_is_said_of_printed_numbers(self, script):
        part = markdown_of(script).partition("## What would falsify it")[2]
        part = part.partition("\n## ")[0]
        bullets = re.split(r"^- ", part, flags=re.MULTILINE)[1:]
        assert 3 <= len(bullets) <= 6
        assert sum("{glue:text}" in bullet for bullet in bullets) >= 2
        assert min(map(len, bullets)) > 100

    def test_margin_notes_stand_beside_the_text(self, script):
        notes = re.findall(r"^(?:.*\S.*\n)?```\{margin\}", markdown_of(script), re.MULTILINE)
        assert 3 <= len(notes) <= 9
        # a directive inside a paragraph is text
        assert set(notes) == {"```{margin}"}


def markdown_of(script: Path) -> str:
    """Everything that is written in a chapter, cells apart."""
    cells = notebooks.read(script).cells
    return "\n\n".join(c.source for c in cells if c.cell_type == "markdown")


def calls_of(script: Path, name: str) -> list[tuple[ast.Call, set[str]]]:
    """Calls of a function of the press, and the tags of their cells."""
    return [
        (node, set(cell.metadata.get("tags", [])))
        for cell in notebooks.read(script).cells
        if cell.cell_type == "code"
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == f"bookpress.{name}"
    ]


def says_something(code: list[str]) -> bool:
    """Whether cells print, show or assert something."""
    tree = ast.parse("\n".join(code))
    last = tree.body[-1] if tree.body else None
    prints = any(isinstance(n, ast.Name) and n.id == "print" for n in ast.walk(tree))
    return isinstance(last, ast.Assert | ast.Expr) or prints


PARAMETER_FILES = sorted((ROOT / "notebooks" / "params").glob("*.yaml"))


@pytest.mark.parametrize("path", PARAMETER_FILES, ids=ids(PARAMETER_FILES))
def test_parameter_files_name_their_chapter_and_are_valid(path):
    chapter = results.chapter_of(path)
    assert chapter in ids(CHAPTERS)
    run.job(BOOK, chapter, run.from_file(path), path.stem)


PAGES = sorted((ROOT / "book").glob("*.md"))


@pytest.mark.parametrize("page", ["index.md", "results.md"])
def test_pages_type_no_result(page):
    assert typed_numbers((ROOT / "book" / page).read_text()) == []


def test_every_source_is_a_page_of_the_table_of_contents():
    listed = {Path(p).name for p in BOOK.pages() if p.startswith("book/chapters/")}
    assert listed == set(ids(SCRIPTS))


def test_what_is_executed_first_are_notebooks():
    named = BOOK.settings["longest_first"]
    assert set(named) <= {s.stem for s in SCRIPTS}
    assert len(set(named)) == len(named)


def test_recorded_results_hold_no_machine_path():
    paths = re.compile(r"(?<![\w:/.])/(home|root|tmp|Users|mnt|opt|var|srv)/|[A-Z]:\\\\")
    for path in (ROOT / "results").rglob("*.json"):
        assert not paths.search(path.read_text()), path.name


LOCAL_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


@pytest.mark.parametrize("page", ["README.md", *(f"book/{p.name}" for p in PAGES)])
def test_local_links_lead_to_files(page):
    text = (ROOT / page).read_text()
    targets = [Path(page).parent / t for t in LOCAL_LINK.findall(text) if "chapters/" not in t]
    assert [
        str(t) for t in targets if not any((ROOT / f"{t}{x}").exists() for x in ("", ".md"))
    ] == []
