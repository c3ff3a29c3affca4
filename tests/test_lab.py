"""JupyterLab: the list that it opens with, and notebooks that are saved into their scripts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytestmark = pytest.mark.press
pytest.importorskip("jupyterlab", reason="needs the press")

from bookpress import lab, notebooks  # noqa: E402
from bookpress.book import Book  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
BOOK = Book(ROOT)
TOKEN = "of-this-test"
CHAPTER = "05b_deconvolution"


class TestList:
    def test_it_is_made_from_the_notebooks(self):
        written = (BOOK.notebooks / lab.NAME).read_text()
        assert written == lab.page(BOOK), "run `bookpress sync`"

    def test_it_has_every_chapter_with_its_question_and_its_time(self):
        parts = lab.page(BOOK).split("\n## ")[1:]
        links = [re.match(r"\[.+\]\((.+)\.ipynb\)", part).group(1) for part in parts]
        assert sorted(links) == [script.stem for script in BOOK.sources()]
        chapters = [p for p, name in zip(parts, links, strict=True) if name[:2].isdigit()]
        assert all("?" in part for part in chapters)
        assert all(re.search(r"^\*.*(minute|second).*\*$", part, re.M) for part in chapters)

    def test_nothing_is_left_that_only_the_press_understands(self):
        assert not re.search(r"\{\w+", lab.page(BOOK))

    def test_roles_become_their_text(self, tiny_book):
        script = tiny_book.notebooks / "01_tiny.py"
        script.write_text(
            "# %% [markdown]\n# # 01 · Tiny\n#\n"
            "# **The question.** What does {term}`calcium imaging`\n"
            "# show of {term}`neurons <neuron>` {cite}`chen2013`?\n#\n"
            "# **Time to run:** a second. No.\n"
        )
        page = lab.page(tiny_book)
        assert "## [01 · Tiny](01_tiny.ipynb)\n\nWhat does calcium imaging show of neurons?" in page
        assert page.endswith("*a second*\n")


class TestSettings:
    def test_jupyterlab_opens_at_the_list_and_shows_it(self):
        settings = json.loads((ROOT / ".jupyter" / "jupyter_lab_config.json").read_text())
        place = settings["LabApp"]["default_url"].removeprefix("/lab/tree/")
        assert ROOT / place == BOOK.notebooks / lab.NAME
        overrides = ROOT / ".jupyter" / "labconfig" / "default_setting_overrides.json"
        viewers = json.loads(overrides.read_text())["@jupyterlab/docmanager-extension:plugin"]
        assert viewers["defaultViewers"]["markdown"] == "Markdown Preview"


def copy_of_notebooks(folder: Path) -> Path:
    """Copy what a server of notebooks needs, with one chapter."""
    (folder / "notebooks").mkdir()
    for suffix in (".py", ".ipynb"):
        name = Path("notebooks", CHAPTER).with_suffix(suffix)
        shutil.copyfile(ROOT / name, folder / name)
    shutil.copyfile(ROOT / "pyproject.toml", folder / "pyproject.toml")
    shutil.copytree(ROOT / ".jupyter", folder / ".jupyter")
    return folder


def asked(address: str, content: dict | None = None) -> dict:
    request = urllib.request.Request(
        address,
        data=json.dumps(content).encode() if content else None,
        headers={"Authorization": f"token {TOKEN}", "Content-Type": "application/json"},
        method="PUT" if content else "GET",
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """JupyterLab on a copy: its folder and its address."""
    folder = copy_of_notebooks(tmp_path_factory.mktemp("lab"))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0"),
                *(f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}"),
            ],
            cwd=folder,
            env=os.environ
            | {
                "HOME": str(folder),
                "JUPYTER_CONFIG_PATH": str(folder / ".jupyter"),
                "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
            },
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield folder, address_of(folder, process)
    finally:
        process.terminate()
        process.wait(30)


def address_of(folder: Path, process: subprocess.Popen) -> str:
    """Wait until the server has said where it listens."""
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        found = list((folder / "runtime").glob("jpserver-*.json"))
        if found and (text := found[0].read_text()):
            return json.loads(text)["url"]
        time.sleep(0.1)
    raise AssertionError((folder / "log").read_text())


@pytest.mark.long
class TestServer:
    def test_the_address_leads_to_the_list(self, server):
        _, address = server
        request = urllib.request.Request(f"{address}?token={TOKEN}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.url.partition("?")[0].endswith("/lab/tree/notebooks/chapters.md")

    def test_what_is_shown_is_not_edited(self, server):
        _, address = server
        plugin = "@jupyterlab/docmanager-extension:plugin"
        found = asked(f"{address}lab/api/settings/{plugin}")
        viewers = found["schema"]["properties"]["defaultViewers"]["default"]
        assert viewers["markdown"] == "Markdown Preview"

    def test_saving_changes_the_script_by_what_was_changed(self, server):
        folder, address = server
        script = folder / "notebooks" / f"{CHAPTER}.py"
        before = script.read_text()
        place = f"{address}api/contents/notebooks/{CHAPTER}.ipynb"
        content = asked(place)["content"]
        worked_on(content)
        asked(place, {"type": "notebook", "format": "json", "content": content})
        saved = script.read_text()
        lines = zip(before.splitlines(), saved.splitlines(), strict=True)
        assert [pair for pair in lines if pair[0] != pair[1]] == [
            ("#     display_name: Python 3", "#     display_name: Python 3 (ipykernel)"),
            (SEED, SEED.replace("67", "68")),
        ]
        assert "left by a reader" in script.with_suffix(".ipynb").read_text()
        notebooks.sync(script)
        assert script.read_text() == before.replace(SEED, SEED.replace("67", "68"))
        assert "left by a reader" not in script.with_suffix(".ipynb").read_text()

    def test_a_changed_script_shows_when_the_notebook_is_opened(self, server):
        folder, address = server
        script = folder / "notebooks" / f"{CHAPTER}.py"
        text = script.read_text()
        script.write_text(text.replace("seed: int = ", "seed: int = 1"))
        later = time.time() + 10
        os.utime(script, (later, later))
        content = asked(f"{address}api/contents/notebooks/{CHAPTER}.ipynb")["content"]
        assert any("seed: int = 16" in "".join(cell["source"]) for cell in content["cells"])


SEED = "seed: int = 67  # of every random draw [0, 1000000]"


def worked_on(content: dict) -> None:
    """Change a parameter, and leave behind what a reader's session does."""
    (cell,) = [c for c in content["cells"] if SEED in c["source"]]
    cell["source"] = cell["source"].replace(SEED, SEED.replace("67", "68"))
    cell["execution_count"] = 1
    cell["metadata"] |= {"trusted": True, "collapsed": False}
    cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "left by a reader\n"}]
    content["metadata"]["kernelspec"]["display_name"] = "Python 3 (ipykernel)"
    content["metadata"]["language_info"] = {"name": "python", "version": "3.11.9"}
