"""Links that open a chapter on Binder or Colab, in the header of its page: a Sphinx extension.

The theme has such buttons, but they lead to the file that a page is made from. Here that is the
executed copy, which lies in no repository; these lead to the notebook itself.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

from sphinx.application import Sphinx

CHAPTERS = "book/chapters/"
COLAB = "notebooks/colab/colab.ipynb"
HOSTS = {"github.com": "gh", "gitlab.com": "gl"}
AFTER_THEME = 502  # the theme makes its list of buttons at 500 and fills it at 501


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("html-page-context", _add, priority=AFTER_THEME)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def links(repository: str, branch: str, chapter: str) -> dict[str, str]:
    """Return where a chapter can be opened, by the name of the place.

    Parameters
    ----------
    repository
        Address of the repository; empty where it has none.
    branch
        Of the repository, to be opened.
    chapter
        Name of the notebook without suffix.

    Returns
    -------
    dict of str
        ``"Binder"`` for every repository, ``"Colab"`` for one on GitHub; empty without one.

    Raises
    ------
    ValueError
        The address is not one of the form ``https://host/owner/name``.
    """
    if not repository:
        return {}
    parts = urlsplit(repository)
    path = parts.path.strip("/").removesuffix(".git")
    if parts.scheme != "https" or "/" not in path:
        raise ValueError(
            f"repository: url in _config.yml must be like https://github.com/owner/name; got "
            f"{repository!r}. Correct it, or leave it empty for no launch buttons."
        )
    where = f"{_binder(repository, parts.netloc, path)}/{quote(branch, safe='')}"
    found = {"Binder": f"{where}?urlpath=lab/tree/notebooks/{chapter}.ipynb"}
    if parts.netloc == "github.com":
        found["Colab"] = f"https://colab.research.google.com/github/{path}/blob/{branch}/{COLAB}"
    return found


def _binder(repository: str, host: str, path: str) -> str:
    name = HOSTS.get(host)
    if name is None:
        return f"https://mybinder.org/v2/git/{quote(repository, safe='')}"
    return f"https://mybinder.org/v2/{name}/{path if name == 'gh' else quote(path, safe='')}"


def _add(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object) -> None:
    if not page.startswith(CHAPTERS) or "header_buttons" not in context:
        return
    theme = app.config.html_theme_options
    chapter = page.removeprefix(CHAPTERS)
    found = links(
        theme.get("repository_url") or "", theme.get("repository_branch") or "main", chapter
    )
    if found:
        context["header_buttons"].append(_group(found))


def _group(found: dict[str, str]) -> dict[str, Any]:
    """Describe the buttons as the theme's templates want them."""
    icons = {"Binder": "logo_binder.svg", "Colab": "logo_colab.png"}
    buttons = [
        {
            "type": "link",
            "text": name,
            "tooltip": f"Open on {name}",
            "icon": f"_static/images/{icons[name]}",
            "url": url,
        }
        for name, url in found.items()
    ]
    return {
        "type": "group",
        "tooltip": "Open this chapter elsewhere",
        "icon": "fas fa-rocket",
        "buttons": buttons,
        "label": "launch-buttons",
    }
