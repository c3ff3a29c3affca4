"""The press on a book of one chapter: execute, fail, resume, tabulate, render, check."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.press
papermill = pytest.importorskip("papermill", reason="needs the press")

from papermill.exceptions import PapermillExecutionError  # noqa: E402

from bookpress import cli, engine, notebooks, real, results, run, site, tasks  # noqa: E402
from bookpress.book import Book, BookError, code_cells, telling_cells, working_lines  # noqa: E402
from bookpress.parameters import ParameterError  # noqa: E402


def press(book: Book, *words: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "bookpress", *words],
        cwd=book.root,
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )


def plain_papermill(book: Book, **parameters: object) -> None:
    """Execute the paired notebook as one without the press would."""
    notebook = notebooks.sync(book.notebooks / "01_tiny.py")
    output = book.root / "out.ipynb"
    papermill.execute_notebook(notebook, output, parameters, cwd=str(book.root), progress_bar=False)


def executed(book: Book) -> float:
    return (book.chapters / "01_tiny.ipynb").stat().st_mtime_ns


class TestRun:
    def test_a_run_leaves_notebook_and_claims_without_machine_paths(self, tiny_book):
        done = press(tiny_book, "run", "01", "-p", "seed", "3", "--name", "three")
        assert done.returncode == 0, done.stderr
        kept = json.loads((tiny_book.results / "01_tiny" / "three.json").read_text())
        assert kept["parameters"] == {"seed": 3, "n_draws": 100, "dataset": "simulated"}
        assert kept["claims"][0]["name"] == "mean_draw"
        text = (tiny_book.root / "runs" / "01_tiny" / "three.ipynb").read_text()
        assert str(tiny_book.root) not in text + json.dumps(kept)

    @pytest.mark.parametrize(
        ("words", "fault"),
        [
            (("-p", "no_such", "1"), "unknown parameter 'no_such'"),
            (("-p", "seed", "many"), "seed must be int"),
            (("-p", "seed", "1001"), "seed must lie in [0, 1000]"),
            (("-p", "seed", "[1"), "seed must be int"),
            (("-f", "absent.yaml"), "No parameter file absent.yaml"),
            (("-f", "notebooks"), "No parameter file notebooks"),
        ],
    )
    def test_bad_parameters_stop_the_run_before_any_work(
        self, tiny_book, words, fault, monkeypatch, capsys
    ):
        monkeypatch.chdir(tiny_book.root)
        monkeypatch.setattr(sys, "argv", ["bookpress", "run", "01", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
        assert left.value.code == 1
        said = capsys.readouterr().err
        assert fault in said
        assert "Traceback" not in said
        assert not (tiny_book.root / "runs").exists()

    def test_plain_papermill_is_stopped_by_the_guard_in_the_notebook(self, tiny_book):
        with pytest.raises(PapermillExecutionError) as stopped:
            plain_papermill(tiny_book, no_such=1)
        assert "unknown parameter 'no_such'" in str(stopped.value)
        assert "n_draws" in str(stopped.value)
        assert not (tiny_book.results / "01_tiny").exists()

    def test_a_failing_cell_is_named_and_nothing_is_replaced(self, tiny_book):
        script = tiny_book.notebooks / "01_tiny.py"
        script.write_text(script.read_text() + "\n# %%\nraise ValueError('no such luck')\n")
        output = tiny_book.chapters / "01_tiny.ipynb"
        notebooks.replace(output, "former")
        with pytest.raises(run.CellFailed, match=r"01_tiny.*cell 6.*ValueError: no such luck"):
            run.execute(tiny_book, run.job(tiny_book, "01", {}), output)
        assert output.read_text() == "former"
        assert not (tiny_book.results / "01_tiny").exists()
        partial = (tiny_book.root / "book" / "failed" / "01_tiny.default.ipynb").read_text()
        assert "no such luck" in partial

    def test_a_cell_that_kills_its_kernel_is_named(self, tiny_book):
        script = tiny_book.notebooks / "01_tiny.py"
        script.write_text(script.read_text() + "\n# %%\nimport os\nos.kill(os.getpid(), 9)\n")
        with pytest.raises(
            run.CellFailed, match=r"01_tiny.*cell 6 \('import os'\) killed its kernel"
        ):
            run.execute(tiny_book, run.job(tiny_book, "01", {}), tiny_book.root / "out.ipynb")
        assert (tiny_book.root / "book" / "failed" / "01_tiny.default.ipynb").exists()

    def test_a_run_whose_build_is_gone_publishes_nothing(self, tiny_book, monkeypatch):
        monkeypatch.setenv(run.PARENT, "1" if os.getppid() != 1 else "2")
        output = tiny_book.chapters / "01_tiny.ipynb"
        with pytest.raises(BookError, match="nothing is kept"):
            run.execute(tiny_book, run.job(tiny_book, "01", {}), output)
        assert not output.exists()
        assert not tiny_book.results.exists()

    def test_only_a_run_for_a_page_is_told_so(self, tiny_book):
        script = tiny_book.notebooks / "01_tiny.py"
        told = "\n# %%\nimport os\n\nprint('for a page:', bool(os.environ['BOOKPRESS_PAGE']))\n"
        script.write_text(script.read_text() + told)
        job = run.job(tiny_book, "01", {})
        for output, word in (
            (tiny_book.chapters / "01_tiny.ipynb", "True"),
            (tiny_book.root / "runs" / "out.ipynb", "False"),
        ):
            run.execute(tiny_book, job, output)
            assert f"for a page: {word}" in output.read_text()

    def test_a_notebook_run_by_hand_does_not_pass_for_the_books_own(self, tiny_book):
        plain_papermill(tiny_book)
        (kept,) = (tiny_book.results / "01_tiny").glob("*.json")
        assert kept.name.startswith("p-")
        assert results.load(tiny_book) == {}

    def test_named_parameter_files_run_when_their_data_are_at_hand(self, tiny_book, monkeypatch):
        folder = tiny_book.notebooks / "params"
        (folder / "here.yaml").write_text("# chapter: 01_tiny\nseed: 5\n")
        (folder / "away.yaml").write_text("# chapter: 01_tiny\ndataset: real\n")
        (folder / "lost.yaml").write_text("seed: 5\n")

        def needs(self, parameters):
            file = {"file": "big.h5", "size": 1_500_000, "checksum": "sha256:0", "present": False}
            return [file] if parameters.get("dataset") == "real" else []

        monkeypatch.setattr(Book, "needs", needs)
        away, here, lost = real.run_all(tiny_book)
        assert "not run, needs big.h5, 1.5 MB" in away.line
        assert not away.failed
        assert "done" in here.line
        assert lost.failed
        table = results.page(tiny_book)
        assert "| here |" in table
        assert "older than the code" not in table
        (folder / "here.yaml").write_text("# chapter: 01_tiny\nseed: 6\n")
        assert "older than the code" in results.page(tiny_book)
        assert "not run: needs big.h5, 1.5 MB" in table


@pytest.fixture(scope="class")
def built_once(tmp_path_factory, make_tiny_book):
    """A book that was built, and a copy of all that this left, with the times of its files."""
    folder = tmp_path_factory.mktemp("built")
    book = make_tiny_book(folder / "book")
    assert tasks.build(book) == 0
    shutil.copytree(book.root, folder / "kept")
    return book, folder / "kept"


@pytest.fixture
def built_book(built_once):
    """The built book, in its place and as it was after that build."""
    book, kept = built_once
    shutil.rmtree(book.root)
    shutil.copytree(kept, book.root)
    return book


@pytest.mark.long
class TestSaving:
    def test_the_notebook_is_written_now_and_then_and_whole_at_the_end(self, tiny_book, tmp_path):
        """A hundred cells in less time than lies between two writings."""
        script = tiny_book.notebooks / "01_tiny.py"
        cells = "".join(f"\n# %%\nlast = {k}\nlast\n" for k in range(100))
        script.write_text(script.read_text() + cells)
        written = []
        with pytest.MonkeyPatch.context() as patched:
            write = papermill.engines.write_ipynb
            patched.setattr(
                papermill.engines,
                "write_ipynb",
                lambda nb, path: (written.append(path), write(nb, path)),
            )
            started = time.monotonic()
            output = run.execute(tiny_book, run.job(tiny_book, "01", {}), tmp_path / "out.ipynb")
        n_most = 3 + (time.monotonic() - started) / engine.SECONDS_BETWEEN_SAVES
        assert 1 <= len(written) <= n_most < 20
        last = json.loads(output.read_text())["cells"][-1]
        assert last["outputs"][0]["data"]["text/plain"] == ["99"]
        assert last["metadata"]["papermill"]["status"] == "completed"


class TestBuild:
    def test_what_was_computed_is_printed(self, built_book):
        page = (built_book.site / "book" / "chapters" / "01_tiny.html").read_text()
        low = json.loads((built_book.results / "01_tiny" / "default.json").read_text())
        index = (built_book.site / "book" / "index.html").read_text()
        assert "The mean is" in page
        assert f'Across pages: <span class="pasted-text">{low["claims"][0]["low"]:.2f}' in index

    def test_build_repeats_nothing_and_repeats_what_changed(self, built_book, monkeypatch):
        first = executed(built_book)
        assert tasks.build(built_book) == 0
        assert executed(built_book) == first

        script = built_book.notebooks / "01_tiny.py"
        os.utime(script)
        assert tasks.build(built_book) == 0
        assert executed(built_book) == first, "a touched file with equal content is not a change"

        result = built_book.results / "01_tiny" / "default.json"
        result.unlink()
        with monkeypatch.context() as patched:
            patched.setattr(site, "render", lambda book: None)  # the last build prints all again
            assert tasks.build(built_book) == 0
        assert result.exists(), "claims that were deleted are made again"

        second = executed(built_book)
        script.write_text(script.read_text().replace("seed: int = 0", "seed: int = 7"))
        (built_book.root / "lib" / "helper.py").write_text("ANSWER = 42\n")
        assert tasks.build(built_book) == 0
        assert executed(built_book) > second, "a change in the library is a change"
        value = json.loads(result.read_text())["claims"][0]["value"]
        other = (built_book.site / "book" / "other.html").read_text()
        assert f">{value:.3f}<" in other, "every page that glues a number gets the new one"

    def test_a_failing_chapter_fails_the_build_and_says_where(self, tiny_book):
        script = tiny_book.notebooks / "01_tiny.py"
        script.write_text(script.read_text() + "\n# %%\n1 / 0\n")
        done = press(tiny_book, "build")
        assert done.returncode != 0
        assert "01_tiny [default]: cell 6 ('1 / 0') failed: ZeroDivisionError" in done.stderr
        assert not (tiny_book.site / "index.html").exists()

    def test_a_killed_build_completes_the_next_time(self, tiny_book):
        script = tiny_book.notebooks / "01_tiny.py"
        original = script.read_text()
        script.write_text(original + "\n# %%\nimport time\ntime.sleep(60)\n")
        child = subprocess.Popen(
            [sys.executable, "-m", "bookpress", "build"],
            cwd=tiny_book.root,
            start_new_session=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        for line in child.stdout:
            if "cell" in line:
                break
        time.sleep(0.5)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        script.write_text(original)
        (tiny_book.root / "_build" / "rendering-html").touch()
        assert tasks.build(tiny_book) == 0
        assert (tiny_book.site / "index.html").exists()

    def test_prose_cannot_outlive_its_number(self, built_book, capsys):
        index = built_book.root / "book" / "index.md"
        index.write_text(index.read_text().replace("mean_draw_low", "no_such_key"))
        assert tasks.build(built_book) != 0
        said = capsys.readouterr().err
        assert "index.md:3: WARNING: Glue reference 'no_such_key' not found" in said


class TestOrder:
    def test_those_that_take_longest_are_begun_first(self, tiny_book):
        for name in ("00_short", "02_long", "03_longest", "data"):
            (tiny_book.notebooks / f"{name}.py").write_text("")
        book = Book(tiny_book.root)
        names = ["00_short", "01_tiny", "02_long", "03_longest", "data"]
        assert [script.stem for script in tasks.in_order_of_start(book)] == names
        settings = '[tool.bookpress]\nlongest_first = ["03_longest", "02_long"]\n'
        (book.root / "pyproject.toml").write_text(settings)
        book = Book(tiny_book.root)
        begun = [task["name"] for task in tasks._execute(book, threads=1)]
        assert begun == ["03_longest", "02_long", "00_short", "01_tiny", "data"]


class TestPages:
    def write(self, folder, body: str, head: str = "") -> list[str]:
        page = folder / "page.html"
        page.write_text(f"<html><head>{head}</head><body><article>{body}</article></body></html>")
        return site.page_faults(page)

    def figure(self, alt: str, caption: str) -> str:
        return (
            '<div class="cell_output"><figure><img src="a.png" alt="' + alt + '">'
            f"<figcaption>{caption}</figcaption></figure></div>"
        )

    def test_a_good_page_has_no_fault(self, tmp_path):
        good = self.figure("Rates of real against generated neurons", "Rates.")
        good += '<p>Of 0.718.</p><div class="cell_output"><p>0.7180531260804242</p></div>'
        assert self.write(tmp_path, good, '<script src="local.js"></script>') == []

    @pytest.mark.parametrize(
        ("body", "head", "fault"),
        [
            ("<pre>Traceback (most recent call last)</pre>", "", "traceback"),
            ("", '<script src="https://cdn.example/x.js"></script>', "another host"),
            ("", '<script src="//cdn.example/x.js"></script>', "another host"),
            ("", '<link rel="stylesheet" href="https://fonts.example/x.css">', "another host"),
            (
                '<div class="cell_output"><img src="a.png" alt="A long enough text here"></div>',
                "",
                "no caption",
            ),
            ("<p>The score is 0.7180531260804242.</p>", "", "say how many decimals"),
        ],
    )
    def test_faults_are_found(self, tmp_path, body, head, fault):
        assert any(fault in f for f in self.write(tmp_path, body, head))

    @pytest.mark.parametrize("alt", ["", "short", "<Figure size 640x480 with 1 Axes>"])
    def test_an_image_needs_words(self, tmp_path, alt):
        faults = self.write(tmp_path, self.figure(alt.replace("<", "&lt;"), "Rates."))
        assert any("alternative text" in f for f in faults)

    def test_a_missing_page_is_a_fault(self, tiny_book):
        with pytest.raises(BookError, match=r"01_tiny.html: the page was not built"):
            site.check(tiny_book)


class TestBookOfFiles:
    def test_code_hash_ignores_prose_and_sees_code_and_library(self, tiny_book):
        script = tiny_book.notebooks / "01_tiny.py"
        original, before = script.read_text(), tiny_book.code_hash("01_tiny")
        script.write_text(original.replace("A tiny chapter", "Another title"))
        assert tiny_book.code_hash("01_tiny") == before
        script.write_text(original.replace("draws.std()", "draws.std(ddof=1)"))
        assert tiny_book.code_hash("01_tiny") != before

    def test_code_hash_sees_the_library_as_far_as_it_is_imported(self, tiny_book):
        script, library = tiny_book.notebooks / "01_tiny.py", tiny_book.root / "lib"
        (library / "near.py").write_text("import far\n")
        (library / "far.py").write_text("x = 1\n")
        script.write_text(script.read_text().replace("import bookpress\n", "import near\n"))
        before = tiny_book.code_hash("01_tiny")
        (library / "elsewhere.py").write_text("x = 1\n")
        assert tiny_book.code_hash("01_tiny") == before
        (library / "far.py").write_text("x = 2\n")
        assert tiny_book.code_hash("01_tiny") != before

    def test_code_hash_ignores_docstrings_and_comments_of_the_library(self, tiny_book):
        script, path = tiny_book.notebooks / "01_tiny.py", tiny_book.root / "lib" / "near.py"
        script.write_text(script.read_text().replace("import bookpress\n", "import near\n"))
        path.write_text('def half(x):\n    """Halve."""\n    return x / 2\n')
        before = tiny_book.code_hash("01_tiny")
        path.write_text(
            '"""Of numbers."""\n\n\ndef half(x):  # 1\n    """Return\n\n    # one half.\n    """\n'
            "    # as all know\n    return x / 2\n"
        )
        assert tiny_book.code_hash("01_tiny") == before
        path.write_text('def half(x):\n    """Halve."""\n    return x / 3\n')
        assert tiny_book.code_hash("01_tiny") != before

    @pytest.mark.parametrize(
        "source",
        [
            'x = "# no comment"',
            "x = '''two\nlines'''",
            'def f(): "a docstring beside its name"',
            '"a docstring"; x = 1',
            'x = 1\n"no docstring"',
            'x = f"{1}# still text"',
        ],
    )
    def test_what_works_stays(self, source):
        assert working_lines(source) == source

    def test_code_cells_are_code_alone(self):
        header = "# ---\n# header\n# ---\n\n# %% [markdown]\n# prose\n\n"
        script = header + "# %% tags=['x']\na = 1\n\n# %%\nb = 2"
        assert code_cells(script) == ["a = 1", "b = 2"]

    def test_what_follows_the_last_number_does_not_count(self, tiny_book):
        script = tiny_book.notebooks / "01_tiny.py"
        before = tiny_book.code_hash("01_tiny")
        (tiny_book.root / "lib" / "views.py").write_text("x = 1\n")
        script.write_text(script.read_text() + "\n# %%\nimport views\n\nviews.x\n")
        assert tiny_book.code_hash("01_tiny") == before
        script.write_text(script.read_text() + "\n# %%\nrun.quote(late=views.x)\n")
        changed = tiny_book.code_hash("01_tiny")
        assert changed != before
        (tiny_book.root / "lib" / "views.py").write_text("x = 2\n")
        assert tiny_book.code_hash("01_tiny") != changed

    def test_without_numbers_all_cells_count(self):
        assert telling_cells("# header\n\n# %%\na = 1\n\n# %%\nb = 2") == "a = 1\nb = 2"

    def test_stale_runs_are_marked(self, tiny_book):
        run.execute(tiny_book, run.job(tiny_book, "01", {}), tiny_book.chapters / "01_tiny.ipynb")
        assert "current" in results.page(tiny_book)
        script = tiny_book.notebooks / "01_tiny.py"
        script.write_text(script.read_text().replace("draws.std()", "draws.std(ddof=1)"))
        assert "**older than the code**" in results.page(tiny_book)

    def test_chapters_are_found_by_number_and_refused_otherwise(self, tiny_book):
        assert tiny_book.chapter("01") == tiny_book.chapter("notebooks/01_tiny.ipynb") == "01_tiny"
        with pytest.raises(BookError, match="names 0 of the notebooks 01_tiny"):
            tiny_book.chapter("07")

    def test_a_number_of_its_own_comes_before_the_beginning_of_a_name(self, tiny_book):
        for name in ("01b_second", "02a_first", "02b_second"):
            (tiny_book.notebooks / f"{name}.py").write_text("")
        assert tiny_book.chapter("01") == "01_tiny"
        assert tiny_book.chapter("01b") == "01b_second"
        with pytest.raises(BookError, match="names 2 of the notebooks"):
            tiny_book.chapter("02")

    @pytest.mark.parametrize(
        "name", ["My chapter", "07_Example", "example", "7_example", "01_tiny"]
    )
    def test_names_of_new_chapters_are_checked(self, tiny_book, name):
        with pytest.raises(BookError, match=r"two digits and words|exists"):
            notebooks.new(tiny_book, name)

    def test_equal_scripts_give_equal_notebooks(self, tiny_book):
        script = tiny_book.notebooks / "01_tiny.py"
        assert notebooks.text(script) == notebooks.text(script)

    def test_parameter_files_must_be_mappings(self, tmp_path):
        (tmp_path / "list.yaml").write_text("- 1\n")
        (tmp_path / "broken.yaml").write_text("a: [1\n")
        with pytest.raises(BookError, match="must map parameter names"):
            run.from_file(tmp_path / "list.yaml")
        with pytest.raises(BookError, match="is not YAML"):
            run.from_file(tmp_path / "broken.yaml")

    def test_unknown_parameters_of_a_job(self, tiny_book):
        with pytest.raises(ParameterError, match="Valid parameters"):
            run.job(tiny_book, "01", {"sed": 1})


def test_papermills_pairs_are_folded():
    assert cli.joined(["run", "05", "-p", "a", "1", "-p", "b=2"]) == [
        "run",
        "05",
        "-p",
        "a=1",
        "-p",
        "b=2",
    ]


@pytest.mark.parametrize(
    ("n_bytes", "shown"), [(None, "size unknown"), (12, "12 B"), (1176, "1.18 kB"), (3e9, "3 GB")]
)
def test_sizes_are_readable(n_bytes, shown):
    assert results.size(n_bytes) == shown
