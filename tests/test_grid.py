"""Grids of parameters: which runs a command line asks for, and which it refuses before any work."""

from __future__ import annotations

import pytest

from bookpress import grid
from bookpress.book import BookError
from bookpress.parameters import ParameterError

OTHER = '''\
# %% tags=["parameters"]
seed: int = 0  # seed of the draws [0, 1000]
rate: float = 1.0  # of something [0, 10]
area: str = "V1"  # areas, with commas between
quick: bool = True  # whether to hurry
sizes: list = [1, 2]  # of layers
'''


@pytest.fixture
def book(tiny_book):
    (tiny_book.notebooks / "02_other.py").write_text(OTHER)
    return tiny_book


def given(book, *pairs, chapter="02", files=()):
    return [c.given for c in grid.cells(book, [chapter] if chapter else [], pairs, list(files))]


def file(book, name, text):
    path = book.notebooks / "params" / name
    path.write_text(text)
    return path


class TestAxes:
    @pytest.mark.parametrize(
        ("pair", "values"),
        [
            ("seed=3", [3]),
            ("seed=1..4", [1, 2, 3, 4]),
            ("seed=1..10..4", [1, 5, 9]),
            ("seed=1,5..7,9", [1, 5, 6, 7, 9]),
            ("rate=0.1..0.5..0.1", [0.1, 0.2, 0.3, 0.4, 0.5]),
            ("rate=2,3", [2.0, 3.0]),
            ("rate=1e-3", [1e-3]),
            ("area=V2,V4", ["V2", "V4"]),
            ('area="V2,V4",V5', ["V2,V4", "V5"]),
            ("area=1..3", ["1..3"]),
            ("quick=false,true", [False, True]),
            ("sizes=[3, 4]", [[3, 4]]),
        ],
    )
    def test_values_on_an_axis(self, book, pair, values):
        name = pair.partition("=")[0]
        found = grid.cells(book, ["02"], [pair], [])
        assert [c.parameters[name] for c in found] == values
        assert [type(c.parameters[name]) for c in found] == [type(v) for v in values]
        assert not any(c.fault for c in found)

    def test_several_axes_make_a_grid(self, book):
        cells = grid.cells(book, ["02"], ["seed=1,2", "area=V2,V4", "rate=5"], [])
        pairs = [(c.parameters["seed"], c.parameters["area"]) for c in cells]
        assert pairs == [(1, "V2"), (1, "V4"), (2, "V2"), (2, "V4")]
        assert grid.axes(cells) == ["seed", "area"]

    def test_an_axis_may_belong_to_one_chapter(self, book):
        cells = grid.cells(book, ["01", "02"], ["seed=1,2", "02:rate=3,4"], [])
        assert [c.chapter for c in cells] == ["01_tiny"] * 2 + ["02_other"] * 4
        assert not any(c.fault for c in cells)

    def test_no_axis_is_one_run(self, book):
        assert given(book) == [{}]

    def test_a_run_has_one_name_however_it_was_asked_for(self, book):
        path = file(book, "one.yaml", "rate: 2\n")
        asked = [
            grid.cells(book, ["02"], ["seed=1", "rate=2"], []),
            grid.cells(book, ["02"], ["rate=2.0", "seed=1"], []),
            grid.cells(book, ["02"], ["seed=1"], [path]),
        ]
        assert len({cell.run for (cell,) in asked}) == 1

    def test_values_of_its_own_are_not_told_to_a_chapter(self, book):
        assert given(book, "seed=0,1") == [{}, {"seed": 1}]


class TestFiles:
    def test_each_file_is_a_point_and_a_list_an_axis(self, book):
        one = file(book, "one.yaml", "seed: 1\nrate: 2\n")
        two = file(book, "two.yaml", "seed: [5, 6]\narea: V2,V4\nsizes: [7]\n")
        assert given(book, files=[one, two]) == [
            {"seed": 1, "rate": 2.0},
            {"seed": 5, "area": "V2,V4", "sizes": [7]},
            {"seed": 6, "area": "V2,V4", "sizes": [7]},
        ]

    def test_a_list_of_lists_is_an_axis_of_lists(self, book):
        path = file(book, "lists.yaml", "sizes: [[3], [4, 5]]\n")
        assert given(book, files=[path]) == [{"sizes": [3]}, {"sizes": [4, 5]}]

    def test_the_command_line_comes_before_the_file(self, book):
        path = file(book, "one.yaml", "seed: 1\nrate: 2\n")
        assert given(book, "seed=7,8", files=[path]) == [
            {"seed": 7, "rate": 2.0},
            {"seed": 8, "rate": 2.0},
        ]

    def test_a_file_that_names_its_chapter_brings_it_along(self, book):
        path = file(book, "one.yaml", "# chapter: 02_other\nrate: 2\n")
        assert given(book, chapter=None, files=[path]) == [{"rate": 2.0}]
        cells = grid.cells(book, ["01"], ["seed=4"], [path])
        assert [(c.chapter, c.given) for c in cells] == [
            ("01_tiny", {"seed": 4}),
            ("02_other", {"seed": 4, "rate": 2.0}),
        ]

    def test_equal_points_are_one_run(self, book):
        files = [file(book, f"{k}.yaml", text) for k, text in enumerate(("rate: 2", "rate: 2.0"))]
        assert len(given(book, files=files)) == 1


class TestNames:
    def test_names_can_be_read_and_are_folders(self, book):
        (cell,) = grid.cells(book, ["02"], ["seed=3", "area=a/b c"], [])
        assert cell.run.startswith("seed=3,area=a-b-c,")
        assert cell.place.parts == ("runs", "02_other", cell.run)

    def test_a_name_is_that_of_the_values_however_they_were_given(self, book):
        path = file(book, "one.yaml", "seed: 3\n")
        (named,) = grid.cells(book, ["02"], [], [path])
        by_axis = grid.cells(book, ["02"], ["seed=0..5"], [])
        assert named.run in {c.run for c in by_axis}
        assert len({c.run for c in by_axis}) == 6

    def test_values_that_look_alike_as_names_have_others(self, book):
        runs = {c.run for c in grid.cells(book, ["02"], ["area=a/b,a-b," + "x" * 90], [])}
        assert len(runs) == 3

    def test_a_grid_has_a_name_whatever_its_order(self, book):
        one, same, other = (
            grid.name(grid.cells(book, ["02"], [pair], []))
            for pair in ("seed=1,2", "seed=2,1", "seed=1..3")
        )
        assert one == same != other


class TestFaults:
    def test_one_wrong_value_of_many_is_found_before_any_work(self, book):
        files = [file(book, f"{k:02}.yaml", f"seed: {k}\n") for k in range(23)]
        files.append(file(book, "last.yaml", "sede: 23\n"))
        cells = grid.cells(book, ["02"], [], files)
        assert [bool(c.fault) for c in cells] == [False] * 23 + [True]
        message = r"(?s)1 of 24 runs.*--anyway.*last.yaml: unknown parameter 'sede'"
        with pytest.raises(ParameterError, match=message):
            grid.check(cells)
        grid.check(cells[:23])

    def test_the_message_shows_some_faults_and_what_is_valid(self, book):
        cells = grid.cells(book, ["02"], ["seed=1..40", "colour=red"], [])
        with pytest.raises(ParameterError, match="40 of 40") as caught:
            grid.check(cells)
        text = str(caught.value)
        assert "and 35 more" in text
        assert text.count("Valid parameters") == 1
        assert "rate" in text

    @pytest.mark.parametrize(
        ("pairs", "message"),
        [
            (["seed"], "got 'seed'"),
            (["seed="], "got 'seed='"),
            (["=3"], "got '=3'"),
            (["seed=5..1"], "low..high"),
            (["seed=1..5..0"], "step > 0"),
            (["seed=0..999999999"], "coarser"),
            (["01:seed=1"], "01_tiny, which this sweep does not run"),
            (["seed=0..999", "rate=0..10"], "more than 10000 runs"),
            (["seed=1", "rate=2", "seed=3"], "names seed more than once"),
            (["rate=-1e400..1"], "low..high"),
            (["rate=0..1..1e400"], "low..high"),
        ],
    )
    def test_malformed_axes_are_refused(self, book, pairs, message):
        with pytest.raises(BookError, match=message):
            grid.cells(book, ["02"], pairs, [])

    def test_values_out_of_range_are_faults(self, book):
        cells = grid.cells(book, ["02"], ["rate=5,50,fast"], [])
        assert [c.fault and c.fault.split(",")[0] for c in cells] == [
            None,
            "rate must lie in [0",
            "rate must be float",
        ]

    def test_there_must_be_a_chapter(self, book):
        with pytest.raises(BookError, match="Say which chapter"):
            grid.cells(book, [], ["seed=1"], [])

    def test_a_file_that_is_not_there_is_named(self, book):
        with pytest.raises(BookError, match=r"No parameter file .*none.yaml"):
            grid.cells(book, ["02"], [], [book.root / "none.yaml"])

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"1: 2\n", r"odd.yaml: 1 is no name"),
            (b"seed: []\n", r"odd.yaml: seed is a list of nothing"),
            (b"\xff\xfe\x00seed", r"odd.yaml is no text"),
            (b"", "must map parameter names"),
        ],
    )
    def test_a_file_that_holds_something_else_is_named(self, book, content, message):
        path = book.notebooks / "params" / "odd.yaml"
        path.write_bytes(content)
        with pytest.raises(BookError, match=message):
            grid.cells(book, ["02"], [], [path])
