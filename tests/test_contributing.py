"""The documented steps to a new chapter are carried out, as written, in a copy of the book."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.press
pytest.importorskip("papermill", reason="needs the press")

import yaml  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
STEP = re.compile(r"^ *```bash\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def documented_commands() -> list[str]:
    """Return the commands of the numbered steps, without those of other sections."""
    section = (
        (ROOT / "book" / "contributing.md").read_text().partition("## A chapter in an hour")[2]
    )
    blocks = STEP.findall(section.partition("\n## ")[0])
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


@pytest.fixture
def copy(tmp_path) -> Path:
    """A copy of the book without its chapters, whose execution other tests cover."""
    for name in ("book", "lib", "notebooks"):
        shutil.copytree(
            ROOT / name,
            tmp_path / name,
            ignore=shutil.ignore_patterns(
                "chapters",
                "_generated",
                "failed",
                "__pycache__",
                "[0-9]*",
                "data.*",
                "diagnostics.*",
                "params",
            ),
        )
    for name in ("_config.yml", "pyproject.toml", "requirements.lock"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    (tmp_path / "book" / "index.md").write_text("# Front\n")
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nparts:\n  - caption: The chapters\n    chapters:\n"
        "  - caption: Reference\n    chapters:\n      - file: book/bibliography\n"
    )
    return tmp_path


def test_the_documented_steps_make_a_chapter(copy):
    commands = documented_commands()
    assert commands[0] == "bookpress new 07_example"
    assert commands[-1] == "make test"
    environment = os.environ | {"PYTHONPATH": str(copy / "lib")}
    for command in commands[:-1]:
        words = [sys.executable, "-m", *command.split()]
        done = subprocess.run(words, cwd=copy, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    toc = yaml.safe_load((copy / "_toc.yml").read_text())
    assert toc["parts"][0]["chapters"] == [{"file": "book/chapters/07_example"}]
    page = (copy / "_build" / "html" / "book" / "chapters" / "07_example.html").read_text()
    assert "mean response" in page
    assert len(list((copy / "runs" / "07_example").glob("*.ipynb"))) == 2


def test_the_template_obeys_the_rules_for_chapters(copy):
    """The last documented step, `make test`, finds nothing to complain of in a new chapter."""
    for command in ("bookpress new 07_example", "bookpress sync"):
        subprocess.run([sys.executable, "-m", *command.split()], cwd=copy, check=True)
    for name in ("test_notebooks.py", "conftest.py"):
        (copy / "tests").mkdir(exist_ok=True)
        shutil.copyfile(ROOT / "tests" / name, copy / "tests" / name)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n",
            "0",
            "tests/test_notebooks.py",
            "-k",
            "07_example",
        ],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy / "lib")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d+ passed", done.stdout)
