"""Binder and Colab: what their files install, and the buttons that lead there.

`make launch-check` executes the files in clean environments; here they are read, and executed as
far as needs no network.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import types
from pathlib import Path

import pytest

pytestmark = pytest.mark.press
pytest.importorskip("sphinx", reason="needs the press")

import yaml  # noqa: E402

from bookpress import launch  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = [
    ".binder/postBuild", ".binder/install.sh", "notebooks/colab/colab.sh", ".ci/launch"
]  # fmt: skip
UV = re.search(r"^UV_VERSION := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE).group(1)
STUB = """\
#!/usr/bin/env bash
# Stands for a Python 3.11, or another: says what it is asked, and keeps the pins that it gets.
if [ "$1" = -c ]; then exit {other}; fi
echo "$@" >> {log}
while [ $# -gt 0 ]; do
    if [ "$1" = -r ]; then cp "$2" {pins}; fi
    shift
done
"""


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_those_of_bash_and_may_be_executed(name):
    path = ROOT / name
    assert path.read_text().startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in path.read_text()
    assert os.access(path, os.X_OK)
    assert subprocess.run(["bash", "-n", path], capture_output=True).stderr == b""


def test_binder_is_asked_for_the_python_of_the_lock():
    assert (ROOT / ".binder" / "runtime.txt").read_text().strip() == "python-3.11"
    (line,) = (ROOT / ".binder" / "postBuild").read_text().strip().splitlines()[-1:]
    assert line == 'bash .binder/install.sh "$(command -v python)"'


class TestInstall:
    """The installation with a Python that installs nothing."""

    def installed(self, folder: Path, *, other: int = 0, **environment: str):
        log, pins = folder / "log", folder / "pins"
        python = folder / "python"
        python.write_text(STUB.format(other=other, log=log, pins=pins))
        python.chmod(0o755)
        done = subprocess.run(
            ["bash", ROOT / ".binder" / "install.sh", python],
            env={"PATH": "/usr/bin:/bin", **environment},
            capture_output=True,
            text=True,
        )
        return done, log.read_text() if log.exists() else "", pins

    def test_every_pin_is_the_locks_and_none_is_for_graphics_cards(self, tmp_path):
        done, log, pins = self.installed(tmp_path)
        assert done.returncode == 0, done.stderr
        wanted, locked = (p.read_text().splitlines() for p in (pins, ROOT / "requirements.lock"))
        left_out = set(locked) - set(wanted)
        assert set(wanted) < set(locked)
        assert {re.split(r"[-=]", line)[0] for line in left_out} == {"nvidia", "cuda", "triton"}
        assert any(line.startswith("torch==") for line in wanted)
        assert f"pip install --quiet --disable-pip-version-check uv=={UV}" in log
        assert "--torch-backend cpu" in log
        assert log.splitlines()[-1].endswith("--no-deps --no-build-isolation -e .")

    def test_a_card_gets_all_of_the_lock(self, tmp_path):
        _, log, pins = self.installed(tmp_path, UV_TORCH_BACKEND="auto")
        assert pins.read_text() == (ROOT / "requirements.lock").read_text()
        assert "--torch-backend auto" in log

    def test_a_folder_of_wheels_takes_the_place_of_the_index(self, tmp_path):
        _, log, _ = self.installed(tmp_path, PIP_FIND_LINKS="/some/wheels")
        assert "--find-links /some/wheels" in log
        assert "--torch-backend" not in log

    def test_another_python_is_refused(self, tmp_path):
        done, log, _ = self.installed(tmp_path, other=1)
        assert done.returncode == 1
        assert "made for Python 3.11" in done.stderr
        assert "pip" not in log


def test_the_notebook_for_colab_runs_the_script_that_there_is():
    notebook = json.loads((ROOT / launch.COLAB).read_text())
    code = "".join("".join(c["source"]) + "\n" for c in notebook["cells"] if "outputs" in c)
    (script,) = re.findall(r"!bash book/(\S+) \{chapter\}", code)
    assert script in SCRIPTS
    assert 'filename="book/runs/colab.html"' in code
    assert "runs/colab.ipynb" in (ROOT / script).read_text()
    assert all(not c.get("outputs") for c in notebook["cells"])


def test_colab_without_a_chapter_says_what_is_missing():
    script = ROOT / "notebooks" / "colab" / "colab.sh"
    done = subprocess.run(["bash", script], capture_output=True, text=True)
    assert done.returncode != 0
    assert "say which chapter" in done.stderr


class TestButtons:
    @pytest.mark.parametrize(
        ("repository", "binder"),
        [
            ("https://github.com/lab/book", "gh/lab/book/main"),
            ("https://github.com/lab/book.git", "gh/lab/book/main"),
            ("https://gitlab.com/lab/book/", "gl/lab%2Fbook/main"),
            ("https://git.lab.org/x/book", "git/https%3A%2F%2Fgit.lab.org%2Fx%2Fbook/main"),
        ],
    )
    def test_binder_opens_the_notebook_of_the_chapter(self, repository, binder):
        found = launch.links(repository, "main", "05b_deconvolution")
        place = "lab/tree/notebooks/05b_deconvolution.ipynb"
        assert found["Binder"] == f"https://mybinder.org/v2/{binder}?urlpath={place}"
        assert ("Colab" in found) == ("github" in repository)

    def test_colab_opens_its_notebook_in_the_branch(self):
        found = launch.links("https://github.com/lab/book", "dev", "05b_deconvolution")
        assert found["Colab"] == (
            f"https://colab.research.google.com/github/lab/book/blob/dev/{launch.COLAB}"
        )

    def test_without_a_repository_there_are_none(self):
        assert launch.links("", "main", "05b_deconvolution") == {}
        assert self.buttons("book/chapters/05b_deconvolution", "") == []

    @pytest.mark.parametrize("wrong", ["github.com/lab/book", "https://github.com/lab", "book"])
    def test_an_address_that_is_none_is_refused(self, wrong):
        with pytest.raises(ValueError, match="must be like https://github.com/owner/name"):
            launch.links(wrong, "main", "05b_deconvolution")

    def buttons(self, page: str, repository: str) -> list:
        theme = {"repository_url": repository, "repository_branch": "main"}
        app = types.SimpleNamespace(config=types.SimpleNamespace(html_theme_options=theme))
        context = {"header_buttons": []}
        launch._add(app, page, "page.html", context, None)
        return context["header_buttons"]

    def test_chapters_have_them_and_other_pages_do_not(self):
        repository = "https://github.com/lab/book"
        (group,) = self.buttons("book/chapters/05b_deconvolution", repository)
        assert [button["text"] for button in group["buttons"]] == ["Binder", "Colab"]
        assert self.buttons("book/how-to-rerun", repository) == []

    def test_the_book_has_one_place_for_the_address(self):
        config = yaml.safe_load((ROOT / "_config.yml").read_text())
        assert set(config["repository"]) == {"url", "branch"}
        assert "bookpress.launch" in config["sphinx"]["extra_extensions"]
        launch.links(config["repository"]["url"], config["repository"]["branch"], "05")
