"""Which files of a library a script depends on, found without running anything."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path


def reached(sources: Iterable[str], folders: Iterable[Path]) -> list[Path]:
    """Return the files of packages that Python sources import, directly or through each other.

    Imports within functions count, and so do strings that name a module of a package, such as
    ``"package.module:function"``: that is how what is imported late is named. What a program puts
    together while it runs is not seen.

    Parameters
    ----------
    sources
        Texts of Python scripts.
    folders
        The packages, each a folder; or folders of packages and modules.
    """
    modules = dict(_modules(folders))
    found: set[str] = set()
    waiting = [name for text in sources for name in _names(text, "")]
    while waiting:
        name = _known(waiting.pop(), modules)
        if name in found or not name:
            continue
        found.add(name)
        package = name if modules[name].name == "__init__.py" else name.rpartition(".")[0]
        waiting += [*_names(modules[name].read_text(), package), name.rpartition(".")[0]]
    return sorted(modules[name] for name in found)


def _modules(folders: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """Full names of all modules, with their files."""
    for folder in folders:
        above = folder.parent if (folder / "__init__.py").exists() else folder
        for path in folder.rglob("*.py"):
            parts = path.relative_to(above).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def _known(name: str, modules: dict[str, Path]) -> str:
    """Return the module that a dotted name begins with; "" if there is none."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name


@lru_cache(maxsize=1024)
def _names(text: str, package: str) -> tuple[str, ...]:
    """Dotted names that a source imports or mentions in a string."""
    names: list[str] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*parts, node.module or ""]).strip(".") if node.level else node.module
            names += [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names += re.findall(r"^[A-Za-z_]\w*(?:\.\w+)+(?=:|$)", node.value)
    return tuple(names)
