"""The table of a sweep: what the runs left, in one row a run and claim, in two files."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from invented_sweeps import fail, plan, put_run, sweep

pytestmark = pytest.mark.press
pytest.importorskip("pyarrow", reason="needs pyarrow")

from bookpress import sweep_folder, sweep_table  # noqa: E402
from bookpress.book import BookError  # noqa: E402

AXES = {"seed": [0, 1], "model": ["a", "b"]}
FIXED = {"rate": 0.1, "whole": True, "layers": [8, 4]}


def state(out: Path) -> list[str]:
    return sweep_table.tidy(out).groupby("run", sort=False)["state"].first().to_list()


def edit(path: Path, **more: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | more))


class TestTidy:
    def test_one_row_a_run_and_claim_in_the_order_of_plan_and_record(self, tmp_path):
        sweep(tmp_path, AXES, n_claims=3, score=lambda p, k: p["seed"] + 10 * k)
        table = sweep_table.tidy(tmp_path)
        assert table["claim"].to_list() == ["claim_0", "claim_1", "claim_2"] * 4
        assert table["param.seed"].to_list() == [0] * 6 + [1] * 6
        assert table["param.model"].to_list() == (["a"] * 3 + ["b"] * 3) * 2
        assert table["value"].to_list() == [s + 10 * k for s in (0, 0, 1, 1) for k in range(3)]
        assert (table["state"] == "done").all()

    def test_the_types_of_parameters_are_kept(self, tmp_path):
        sweep(tmp_path, AXES, fixed=FIXED)
        table = sweep_table.tidy(tmp_path)
        kinds = {name: str(table[f"param.{name}"].dtype) for name in [*AXES, *FIXED]}
        assert kinds == {
            "seed": "Int64",
            "model": "string",
            "rate": "Float64",
            "whole": "boolean",
            "layers": "string",
        }
        assert json.loads(table["param.layers"][0]) == [8, 4]

    def test_a_parameter_that_a_chapter_lacks_is_missing_there(self, tmp_path):
        sweep(tmp_path, {"seed": [0, 1]}, fixed={"depth": 2}, n_claims=1)
        sweep(tmp_path, {"seed": [0, 1]}, chapter="02_other", fixed={"depth": 0.5}, n_claims=1)
        sweep(tmp_path, {"seed": [0]}, chapter="03_third", n_claims=1)
        depth = sweep_table.tidy(tmp_path)["param.depth"]
        assert str(depth.dtype) == "Float64"
        assert depth.isna().to_list() == [False] * 4 + [True]

    def test_numbers_of_the_run_are_in_its_rows(self, tmp_path):
        (folder,) = sweep(tmp_path, {})
        edit(folder / "run.json", peak_memory_bytes=123_000_000, duration_s=4.5, attempt=2)
        row = sweep_table.tidy(tmp_path).iloc[0]
        assert (row["peak_memory_mb"], row["duration_s"], row["attempt"]) == (123.0, 4.5, 2)
        assert (row["commit"], row["code_hash"], row["lock_hash"]) == ("0123456789", "c0de", "10cc")

    def test_the_digest_of_the_data_is_of_names_and_checksums_not_of_their_order(self, tmp_path):
        first, second, third, none = sweep(tmp_path, {"seed": range(4)}, n_claims=1)
        files = [{"file": "a", "checksum": "1"}, {"file": "b", "checksum": "2"}]
        edit(first / "run.json", data=files)
        edit(second / "run.json", data=files[::-1])
        edit(third / "run.json", data=[files[0], {"file": "b", "checksum": "3"}])
        edit(none / "run.json", data=[])
        digests = sweep_table.tidy(tmp_path)["data"]
        assert digests[0] == digests[1]
        assert digests[0] != digests[2]
        assert digests.isna().to_list() == [False] * 3 + [True]

    def test_runs_that_left_no_claim_have_one_row_each(self, tmp_path):
        done, failed, missing = sweep(tmp_path, {"seed": range(3)}, n_claims=2)
        fail(failed, cell=3, kind="memory")
        shutil.rmtree(missing)
        faulty = {"chapter": "01_tiny", "run": "sede=1", "given": {"sede": 1}}
        plan(tmp_path, [faulty | {"parameters": {"seed": "x", "sede": 1}, "fault": "unknown"}])
        table = sweep_table.tidy(tmp_path)
        assert table["state"].to_list() == ["done", "done", "failed", "missing", "refused"]
        assert table["claim"].isna().to_list() == [False, False, True, True, True]
        told = table.loc[2, ["error_kind", "error_cell", "error"]].to_list()
        assert told == ["memory", 3, "ValueError: no such luck"]
        assert table.loc[4, "error"] == "unknown"

    def test_what_a_refused_run_was_given_changes_no_column(self, tmp_path):
        sweep(tmp_path, {"seed": [0, 1]}, n_claims=1)
        faulty = {"chapter": "01_tiny", "run": "x", "given": {}, "fault": "no"}
        plan(tmp_path, [faulty | {"parameters": {"seed": "many", "sede": 2**70}}])
        table = sweep_table.tidy(tmp_path)
        assert str(table["param.seed"].dtype) == "Int64"
        assert table["param.seed"].isna().to_list() == [False, False, True]
        assert "param.sede" not in table

    def test_claims_that_a_failed_run_had_recorded_are_kept_as_such(self, tmp_path):
        (folder,) = sweep(tmp_path, {}, n_claims=2)
        edit(folder / "run.json", state="failed", error={"kind": "killed"})
        table = sweep_table.tidy(tmp_path)
        assert table["state"].to_list() == ["failed", "failed"]
        assert table["value"].notna().all()

    def test_a_sweep_of_no_runs_is_a_table_of_no_rows(self, tmp_path):
        plan(tmp_path, [])
        table = sweep_table.tidy(tmp_path)
        assert len(table) == 0
        assert {"chapter", "run", "claim", "value", "error"} <= set(table)

    def test_equal_folders_make_equal_tables(self, tmp_path):
        for name in ("one", "two"):
            sweep(tmp_path / name, AXES, fixed=FIXED)
        pd.testing.assert_frame_equal(*(sweep_table.tidy(tmp_path / n) for n in ("one", "two")))


class TestDamage:
    @pytest.mark.parametrize(
        ("file", "content", "why"),
        [
            ("run.json", '{"state": "done", "par', "run.json cannot be read"),
            ("run.json", "[]", "holds a list"),
            ("run.json", "{}", "state is None"),
            ("run.json", '{"state": "finished"}', "state is 'finished'"),
            ("run.json", '{"state": "done", "run": "another"}', "is of another"),
            ("run.json", '{"state": "done", "duration_s": "long"}', "duration_s is 'long'"),
            ("run.json", '{"state": "done", "duration_s": NaN}', "NaN"),
            ("run.json", "\udcff", "run.json cannot be read"),
            ("claims.json", "not json", "claims.json cannot be read"),
            ("claims.json", '{"claims": {}}', "claims is no list"),
            ("claims.json", '{"claims": [3]}', "has no name"),
            ("claims.json", '{"claims": [{"name": "a", "value": "b"}]}', "not finite numbers"),
            ("claims.json", '{"claims": [{"name": "a", "value": Infinity}]}', "Infinity"),
            ("claims.json", None, "no claims.json"),
            ("run.json", None, "no run.json"),
        ],
    )
    def test_a_damaged_run_is_told_and_no_other_suffers(self, tmp_path, file, content, why):
        before, hurt, after = sweep(tmp_path, {"seed": range(3)}, n_claims=1)
        if content is None:
            (hurt / file).unlink()
        else:
            (hurt / file).write_bytes(content.encode("utf-8", "surrogateescape"))
        assert state(tmp_path) == ["done", "damaged", "done"]
        row = sweep_table.tidy(tmp_path).iloc[1]
        assert why in row["error"]
        assert row["error_kind"] == "damaged"
        assert row["param.seed"] == 1

    def test_a_whole_number_too_large_for_any_float_is_damage_not_a_crash(self, tmp_path):
        (folder,) = sweep(tmp_path, {}, n_claims=1)
        text = (folder / "claims.json").read_text()
        (folder / "claims.json").write_text(text.replace('"value": 0.5', '"value": 1' + "0" * 400))
        assert state(tmp_path) == ["damaged"]

    @pytest.mark.parametrize("text", ["{", "[]", '{"version": 1}', '{"version": 1, "runs": [{}]}'])
    def test_a_damaged_manifest_is_refused(self, tmp_path, text):
        (tmp_path / "sweep.json").write_text(text)
        with pytest.raises(BookError, match=r"sweep.json is damaged"):
            sweep_table.tidy(tmp_path)

    def test_a_folder_that_is_no_sweep_is_refused(self, tmp_path):
        with pytest.raises(BookError, match="No sweep.json"):
            sweep_table.tidy(tmp_path)

    def test_a_manifest_of_another_version_is_refused(self, tmp_path):
        plan(tmp_path, [])
        edit(tmp_path / "sweep.json", version=2)
        with pytest.raises(BookError, match="version 2"):
            sweep_folder.manifest(tmp_path)

    def test_a_manifest_that_names_a_run_twice_is_refused(self, tmp_path):
        sweep(tmp_path, {})
        entry = json.loads((tmp_path / "sweep.json").read_text())["runs"]
        plan(tmp_path, entry)
        with pytest.raises(BookError, match="twice"):
            sweep_folder.manifest(tmp_path)


class TestFiles:
    def awkward(self, out: Path) -> None:
        """Write a sweep with texts that are hard to keep: empty, with lines, quotes, accents."""
        folders = sweep(out, {"area": ["", 'VISp,"VISl"', "a\nb"], "seed": [0, 2**60]}, fixed=FIXED)
        fail(
            folders[1], message='line one\r\nline "two", \x1b[31mred\x1b[0m \ud800 é\x00', cell=None
        )
        shutil.rmtree(folders[2])
        put_run(out, plan(out, [self.other()])[0], score=lambda p, k: 1 / 3 + 1e-17 * k)

    def other(self) -> dict:
        parameters = {"gain": 1e-300}
        return {"chapter": "02_b", "run": "r", "given": {}, "parameters": parameters, "fault": None}

    def test_both_files_hold_what_the_table_holds(self, tmp_path):
        self.awkward(tmp_path)
        parquet, csv = sweep_table.write(tmp_path)
        table = sweep_table.tidy(tmp_path)
        pd.testing.assert_frame_equal(pd.read_parquet(parquet), table)
        back = pd.read_csv(
            csv,
            dtype=table.dtypes.to_dict(),
            keep_default_na=False,
            na_values=["NA"],
            float_precision="round_trip",
        )
        pd.testing.assert_frame_equal(back, table)
        assert (table["param.area"] == "").any()
        assert table["param.area"].isna().any()

    def test_messages_lose_what_no_reader_can_print(self, tmp_path):
        self.awkward(tmp_path)
        (message,) = sweep_table.tidy(tmp_path)["error"].dropna()
        assert message == 'ValueError: line one\nline "two", red ? é'

    def test_a_write_that_fails_leaves_the_former_table_and_nothing_else(
        self, tmp_path, monkeypatch
    ):
        sweep(tmp_path, AXES)
        sweep_table.write(tmp_path)
        before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
        put_run(tmp_path, plan(tmp_path, [self.other()])[0])
        before["sweep.json"] = (tmp_path / "sweep.json").read_bytes()

        def full(source: str, target: str) -> None:
            """Stand for a disk without room."""
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space"):
            sweep_table.write(tmp_path)
        assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before
