"""Which files of a library a script reaches: against what Python itself imports."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bookpress.book import Book
from bookpress.imports import reached

PACKAGE = {
    "__init__.py": "",
    "direct.py": "from pack.deep import leaf",
    "deep/__init__.py": "from .within import x",
    "deep/within.py": "x = 1",
    "deep/leaf.py": "from ..sibling import y",
    "sibling.py": "import numpy\ny = 2",
    "late.py": "def f():\n    import pack.inner as inner\n    return inner",
    "inner.py": "",
    "named.py": "PLACE = 'pack.told:f'",
    "told.py": "f = len",
    "circle.py": "import pack.round",
    "round.py": "import pack.circle",
    "alone.py": "",
}


@pytest.fixture
def pack(tmp_path):
    for name, text in PACKAGE.items():
        path = tmp_path / "pack" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return tmp_path / "pack"


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("import pack", {"__init__"}),
        (
            "from pack.direct import leaf",
            {"__init__", "direct", "deep/__init__", "deep/within", "deep/leaf", "sibling"},
        ),
        ("from pack import deep", {"__init__", "deep/__init__", "deep/within"}),
        ("import pack.late", {"__init__", "late", "inner"}),
        ("import pack.named", {"__init__", "named", "told"}),
        ("import pack.circle", {"__init__", "circle", "round"}),
        ("def f():\n    from pack import alone", {"__init__", "alone"}),
        ("import numpy\n'a sentence about pack.alone'", set()),
    ],
)
@pytest.mark.parametrize("above", [False, True])
def test_reach_follows_imports(pack, source, wanted, above):
    found = reached([source], [pack.parent if above else pack])
    assert {str(p.relative_to(pack).with_suffix("")) for p in found} == wanted


def test_nothing_that_python_imports_is_missed(root):
    """Every module of the library that is loaded with another is reached from it."""
    module = "visualcortex.simulators.probes"
    command = f"import sys, {module}; print(*(m.__file__ for m in list(sys.modules.values()) if"
    command += " getattr(m, '__name__', '').startswith('visualcortex')), sep='\\n')"
    told = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True)
    library = Book(root).root / "lib" / "visualcortex"
    found = {str(p) for p in reached([f"import {module}"], [library])}
    assert told.returncode == 0, told.stderr
    assert len(told.stdout.split()) > 5
    assert set(told.stdout.split()) <= found
