"""The SLURM script: what it checks, what it starts on each node, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.press,
    pytest.mark.skipif(sys.platform != "linux", reason="SLURM is for Linux"),
]

# Commands that note how they were called; each then does as the real one would.
NOTE = """\
#!/bin/bash
printf '%s\\0' "${0##*/}" "$@" >> "$NOTES"
printf '\\n' >> "$NOTES"
"""
STANDINS = {
    "scontrol": "printf 'first\\nsecond\\nthird\\n'\n",
    "srun": 'while [[ $1 == -* ]]; do shift; done\nexec "$@"\n',
    "ray": 'env > "$NOTES.env"\nwhile [[ $1 != -- ]]; do shift; done\nshift\nexec "$@"\n',
    "bookpress": 'env > "$NOTES.env"\nexit "${STATUS:-0}"\n',
}
# On the first node, after the others were asked: these are stopped as soon as it is done.
FIRST_NODE_ONLY = """\
[[ $* != *--exclude* ]] || exit 0
until grep -qa exclude "$NOTES"; do sleep 0.02; done
"""
PATIENT = """\
trap 'echo put in order; exit 130' TERM
echo ready
while :; do sleep 0.05; done
"""


@pytest.fixture
def script(root: Path) -> Path:
    return root / "cluster" / "sweep.sbatch"


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A folder that looks like a checkout, with an environment of stand-ins."""
    folder = tmp_path / "book with a space"
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / "_toc.yml").touch()
    for name, text in STANDINS.items():
        stand_in(folder, name, text)
    return folder


def stand_in(book: Path, name: str, text: str) -> None:
    command = book / ".venv" / "bin" / name
    command.write_text(NOTE + text)
    command.chmod(command.stat().st_mode | stat.S_IXUSR)


def surroundings(book: Path, **slurm: object) -> dict[str, str]:
    """Return an environment without a SLURM of its own, and without this one's programs."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "RAY_"))}
    told = {k: str(v) for k, v in slurm.items()}
    # Ray lets its workers give way to all else, which in tests would be the other tests
    calm = {"RAY_worker_niceness": "0"}
    return kept | calm | {"PATH": "/usr/bin:/bin", "NOTES": str(book / "notes")} | told


def submit(
    script: Path, book: Path, *words: str, **slurm: object
) -> subprocess.CompletedProcess[str]:
    # the script passes on a signal to end, so that nothing is left of one that takes too long
    patience = ["timeout", "--kill-after=30", "300"]
    return subprocess.run(
        [*patience, "bash", str(script), *words],
        cwd=book,
        env=surroundings(book, **slurm),
        capture_output=True,
        text=True,
    )


def calls(book: Path, name: str) -> list[list[str]]:
    """Return the words of each call of a stand-in."""
    lines = (book / "notes").read_text().split("\0\n")
    return [line.split("\0")[1:] for line in lines if line.split("\0")[0] == name]


def told(book: Path) -> dict[str, str]:
    """Return the environment in which Ray, or the sweep, was last started."""
    lines = (book / "notes.env").read_text().splitlines()
    return dict(line.partition("=")[::2] for line in lines)


class TestChecks:
    def test_nothing_to_sweep(self, script, book):
        done = submit(script, book)
        assert done.returncode == 2
        assert "say what to sweep" in done.stderr

    def test_not_a_checkout(self, script, book):
        (book / "_toc.yml").unlink()
        done = submit(script, book, "04")
        assert done.returncode == 2
        assert f"no _toc.yml in {book}" in done.stderr

    @pytest.mark.parametrize("missing", ["bookpress", "ray"])
    def test_no_environment(self, script, book, missing):
        (book / ".venv" / "bin" / missing).unlink()
        done = submit(script, book, "04")
        assert done.returncode == 2
        assert "run 'make env' first" in done.stderr
        assert not (book / "notes").exists()

    def test_slurm_reads_all_of_its_settings(self, script):
        """SLURM stops reading at the first command."""
        lines = script.read_text().splitlines()
        settings = [n for n, line in enumerate(lines) if line.startswith("#SBATCH")]
        commands = [n for n, line in enumerate(lines) if line and not line.startswith("#")]
        assert settings
        assert max(settings) < min(commands)


class TestOneNode:
    def test_words_reach_the_sweep_as_they_were(self, script, book):
        words = ["04", "-p", 'area="VISp,VISl",VISp', "--out", "runs/a b"]
        assert submit(script, book, *words).returncode == 0
        assert calls(book, "bookpress") == [["sweep", *words]]
        assert not calls(book, "srun")
        assert told(book)["RAY_OVERRIDE_RESOURCES"] == ""

    def test_its_own_fault_is_the_jobs(self, script, book):
        assert submit(script, book, "04", STATUS=3).returncode == 3

    @pytest.mark.parametrize(
        ("memory", "gb"),
        [({"SLURM_MEM_PER_NODE": 8000}, 8), ({"SLURM_MEM_PER_CPU": 1000}, 4), ({}, None)],
    )
    def test_ray_is_told_what_slurm_gave(self, script, book, memory, gb):
        given = {"SLURM_CPUS_ON_NODE": 4, "SLURM_GPUS_ON_NODE": 1, "SLURM_JOB_NUM_NODES": 1}
        assert submit(script, book, "04", **given, **memory).returncode == 0
        resources = json.loads(told(book)["RAY_OVERRIDE_RESOURCES"])
        assert (resources["CPU"], resources["GPU"]) == (4, 1)
        parts = [resources.get(name) for name in ("memory", "object_store_memory")]
        assert parts == ([0.9 * gb * 1e9, 0.1 * gb * 1e9] if gb else [None, None])

    def test_a_job_near_its_limit_ends_in_order(self, script, book):
        stand_in(book, "bookpress", PATIENT)
        words = ["bash", str(script), "04"]
        job = subprocess.Popen(
            words, cwd=book, env=surroundings(book), stdout=subprocess.PIPE, text=True
        )
        assert job.stdout.readline() == "ready\n"
        job.send_signal(signal.SIGTERM)
        said, _ = job.communicate(timeout=20)
        assert job.returncode == 130
        assert "put in order" in said
        assert "the same line again goes on" in said
        assert not Path(f"/tmp/ray-{job.pid}").exists()


class TestSeveralNodes:
    @pytest.fixture
    def submitted(self, script, book) -> Path:
        stand_in(book, "srun", FIRST_NODE_ONLY + STANDINS["srun"])
        done = submit(
            script, book, "04", "-p", 'area="VISp,VISl"',
            SLURM_JOB_NUM_NODES=3, SLURM_JOB_NODELIST="first,second,third",
            SLURM_JOB_ID=1234567, SLURM_CPUS_ON_NODE=2,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return book

    def test_ray_is_started_once_on_each_and_the_sweep_joins_it(self, submitted):
        ((_, at, address, least, nodes, *rest),) = calls(submitted, "ray")
        assert (at, least, nodes, rest[0]) == ("--address", "--min-nodes", "3", "--")
        assert re.fullmatch(r"\d+\.\d+\.\d+\.\d+:24567", address)
        assert not address.startswith("127.")
        joined = ["sweep", "--address", address, "04", "-p", 'area="VISp,VISl"']
        assert calls(submitted, "bookpress") == [joined]
        asked = calls(submitted, "srun")
        on_first = [words for words in asked if "--nodelist=first" in words]
        on_rest = [words for words in asked if "--exclude=first" in words]
        assert (len(on_first), len(on_rest)) == (1, 2)
        assert {"--nodes=1", "--ntasks=1"} < set(on_first[0])
        assert all({"--nodes=2", "--ntasks=2"} < set(words) for words in on_rest)
        assert on_rest[-1][-3:] == ["rm", "-rf", "/tmp/ray-1234567"]

    def test_nobody_else_can_join(self, submitted):
        environment = told(submitted)
        assert environment["RAY_AUTH_MODE"] == "token"
        assert len(environment["RAY_AUTH_TOKEN"]) == 64
        assert environment["RAY_AUTH_TOKEN"] not in (submitted / "notes").read_text()

    def test_sockets_fit(self, submitted):
        session = f"ray/session_2026-12-31_23-59-59_999999_{2**22}/sockets/plasma_store.10"
        assert len(f"{told(submitted)['RAY_TMPDIR']}/{session}") <= 107

    def test_a_node_that_does_not_see_the_checkout_says_so(self, script, book):
        stand_in(book, "srun", "cd /\n" + STANDINS["srun"])
        done = submit(
            script, book, "04",
            SLURM_JOB_NUM_NODES=2, SLURM_JOB_NODELIST="first,second", SLURM_JOB_ID=1,
        )  # fmt: skip
        assert done.returncode == 2
        assert "the nodes must share both" in done.stderr


@pytest.fixture(scope="module")
def tiny(make_tiny_book, tmp_path_factory) -> Path:
    """The tiny book, with the environment of these tests."""
    pytest.importorskip("ray", reason="needs the extra [ray]")
    folder = make_tiny_book(tmp_path_factory.mktemp("tiny")).root
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.mark.ray
@pytest.mark.long
class TestWithRay:
    def given(self) -> dict[str, object]:
        return {"SLURM_CPUS_ON_NODE": 2, "SLURM_MEM_PER_NODE": 2000, "SLURM_JOB_NUM_NODES": 1}

    def sweep(self, script: Path, tiny: Path, *words: str) -> subprocess.CompletedProcess[str]:
        line = ["01", "-p", "seed=0,1", "--out", "runs/x", *words]
        return submit(script, tiny, *line, **self.given())

    def test_a_sweep_runs_and_its_second_call_repeats_nothing(self, script, tiny):
        done = self.sweep(script, tiny, "--memory", "0.8")
        assert done.returncode == 0, done.stderr
        records = sorted((tiny / "runs" / "x" / "runs" / "01_tiny").glob("*/run.json"))
        assert [json.loads(r.read_text())["parameters"]["seed"] for r in records] == [0, 1]
        times = [r.stat().st_mtime_ns for r in records]
        again = self.sweep(script, tiny, "--memory", "0.8")
        assert again.returncode == 0, again.stderr
        assert [r.stat().st_mtime_ns for r in records] == times

    def test_more_than_slurm_gave_is_refused(self, script, tiny):
        """The machine may well have three processors and more; the job has two."""
        done = self.sweep(script, tiny, "-p", "n_draws=10", "--memory", "0.5", "--cpus", "3")
        assert done.returncode == 1
        assert "which no machine has: the most are 2" in done.stderr
