"""The documented steps to a new chapter are carried out, as written, in a copy of the book."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

pytestmark = [pytest.mark.press, pytest.mark.long]
pytest.importorskip("papermill", reason="needs the press")

import yaml  # noqa: E402

from bookpress import cli  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = (
    "chapters", "_generated", "failed", "__pycache__", "[0-9]*", "data.*", "diagnostics.*",
    "params",
)  # fmt: skip
STEP = re.compile(r"^ *```bash\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def documented_commands() -> list[str]:
    """Return the commands of the numbered steps, without those of other sections."""
    section = (
        (ROOT / "book" / "contributing.md").read_text().partition("## A chapter in an hour")[2]
    )
    blocks = STEP.findall(section.partition("\n## ")[0])
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


def carried_out(command: str) -> str:
    """Carry out a command of the press in the working directory; return how it failed, if so."""
    told = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(told), redirect_stderr(told):
        patch.setattr(sys, "argv", command.split())
        with pytest.raises(SystemExit) as left:
            cli.main()
    return f"{command}\n{told.getvalue()}" if left.value.code else ""


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the book without its chapters, whose execution other tests cover."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("book", "lib", "notebooks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(*LEFT_OUT))
    for name in ("_config.yml", "pyproject.toml", "requirements.lock"):
        shutil.copyfile(ROOT / name, folder / name)
    (folder / "book" / "index.md").write_text("# Front\n")
    (folder / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nparts:\n  - caption: The chapters\n    chapters:\n"
        "  - caption: Reference\n    chapters:\n      - file: book/bibliography\n"
    )
    return folder


@pytest.fixture(scope="module")
def faults(copy) -> list[str]:
    """What went wrong when the steps before the last were carried out in the copy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(copy)
        return [fault for command in documented_commands()[:-1] if (fault := carried_out(command))]


def test_the_documented_steps_make_a_chapter(copy, faults):
    commands = documented_commands()
    assert commands[0] == "bookpress new 07_example"
    assert commands[-1] == "make test"
    assert faults == []
    toc = yaml.safe_load((copy / "_toc.yml").read_text())
    assert toc["parts"][0]["chapters"] == [{"file": "book/chapters/07_example"}]
    page = (copy / "_build" / "html" / "book" / "chapters" / "07_example.html").read_text()
    assert "mean response" in page
    assert len(list((copy / "runs" / "07_example").glob("*.ipynb"))) == 2


def test_the_template_obeys_the_rules_for_chapters(copy, faults):
    """The last documented step, `make test`, finds nothing to complain of in a new chapter."""
    (copy / "tests").mkdir()
    for name in ("test_notebooks.py", "conftest.py"):
        shutil.copyfile(ROOT / "tests" / name, copy / "tests" / name)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "tests/test_notebooks.py"]
    done = subprocess.run(
        [*command, "-k", "07_example"],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy / "lib")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d+ passed", done.stdout)
