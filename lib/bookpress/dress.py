"""Small things that a built page lacks: what it is about, in its head, and grades of exercises."""

from __future__ import annotations

from bs4 import BeautifulSoup, Tag

LONGEST = 200  # characters of a description
GRADES = ("warm-up", "core", "stretch")


def dress(soup: BeautifulSoup) -> None:
    """Complete the head of a page, mark its exercises, and take out what no page here uses.

    Doing so twice changes nothing.

    Parameters
    ----------
    soup
        The built page, changed in place.
    """
    _describe(soup)
    _grade(soup)
    _without_live_code(soup)


def _describe(soup: BeautifulSoup) -> None:
    """Say in the head what the page is about: its heading and its first paragraph."""
    heading, site = soup.select_one("article h1"), soup.select_one(".logo__title")
    if heading is None or soup.head is None:
        return
    title, book = _words(heading), _words(site) if site else ""
    if soup.title is not None:
        soup.title.string = title if title == book or not book else f"{title} · {book}"
    first = next(
        (p for p in soup.select("article p") if len(_words(p)) > len("The question.")), None
    )
    about = _cut(_words(first).removeprefix("The question. ")) if first else title
    for key, name, text in (
        ("name", "description", about),
        ("property", "og:title", title),
        ("property", "og:description", about),
        ("property", "og:type", "article"),
        ("property", "og:site_name", book or title),
    ):
        tag = soup.head.find("meta", attrs={key: name})
        if tag is None:
            tag = soup.new_tag("meta", attrs={key: name})
            soup.head.append(tag)
        tag["content"] = text


def _words(tag: Tag) -> str:
    """Return the text of an element, on one line, without the mark that links to it."""
    marks = {id(text) for mark in tag.select(".headerlink") for text in mark.find_all(string=True)}
    parts = [text for text in tag.find_all(string=True) if id(text) not in marks]
    return " ".join("".join(parts).split())


def _cut(text: str) -> str:
    """Return whole words of a text, as many as a description may have."""
    if len(text) <= LONGEST:
        return text
    return text[: LONGEST - 1].rsplit(" ", 1)[0].rstrip(",;:. ") + "…"


def _grade(soup: BeautifulSoup) -> None:
    """Give an exercise whose title names a grade a class of that name, for the style sheet."""
    for exercise in soup.select("div.exercise"):
        title = exercise.select_one(".admonition-title")
        text = _words(title).lower() if title else ""
        grade = next((g for g in GRADES if f"({g}:" in text), None)
        if grade and f"vc-{grade}" not in exercise["class"]:
            exercise["class"] = [*exercise["class"], f"vc-{grade}"]


def _without_live_code(soup: BeautifulSoup) -> None:
    """Take out scripts that would run code on a server: none is used, and they end in an error."""
    for script in soup.find_all("script"):
        told = f"{script.get('src', '')} {script.get('type', '')} {script.string or ''}"
        if "thebe" in told.lower() or told.strip().startswith("kernelName"):
            script.decompose()
