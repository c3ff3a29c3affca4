"""The built site as its readers meet it: pointer and keyboard, light and dark, desk and phone."""

from __future__ import annotations

import hashlib

import pytest
from browsing import REPORT, SITE, pages

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="`make browser`")

CHAPTERS = [name for name in pages() if name.rpartition("/")[2][:2].isdigit()]
SERIOUS = ("serious", "critical")
# scrolls through the page, so that pictures that wait for it are there
SEE_ALL = """async () => {
    for (let y = 0; y < document.body.scrollHeight; y += 800) {
        window.scrollTo({top: y, behavior: "instant"});
        await new Promise(done => setTimeout(done, 15));
    }
    window.scrollTo({top: 0, behavior: "instant"});
}"""
BROKEN = """() => [...document.images]
    .filter(image => image.checkVisibility() && !(image.complete && image.naturalWidth))
    .map(image => image.outerHTML.slice(0, 200))"""
CONTROLS = ".vc-explorable .vc-knobs input, .vc-explorable .vc-knobs select"


def looks(page, box) -> str:
    """Digest of the pixels of an explorable's picture."""
    image = box.locator("figure img:visible")
    page.wait_for_function("image => image.complete", arg=image.element_handle())
    return hashlib.sha256(image.screenshot(animations="disabled")).hexdigest()


def all_looks(page, box, control) -> set[str]:
    """Move a control from end to end by the keyboard; collect what is seen on the way."""
    slides = control.evaluate("box => box.tagName") == "INPUT"
    ends = ("ArrowLeft", "ArrowRight") if slides else ("ArrowUp", "ArrowDown")
    n = control.evaluate("box => box.options ? box.options.length : Number(box.max) + 1")
    control.focus()
    for _ in range(n):
        page.keyboard.press(ends[0])
    seen = {looks(page, box)}
    for _ in range(n - 1):
        page.keyboard.press(ends[1])
        seen.add(looks(page, box))
    assert control.evaluate("box => Number(box.value)") == n - 1
    return seen


def test_reading_from_the_front_page_to_the_last_by_the_link_to_the_next(open_page, report):
    """Every chapter is passed; each explorable's picture follows its controls; no network."""
    page = open_page(pages()[0])
    passed, moved = [page.url], 0
    while page.locator("a.right-next").count():
        page.locator("a.right-next").first.click()
        page.wait_for_load_state("load")
        passed.append(page.url)
        for box in page.locator(".vc-explorable").all():
            box.scroll_into_view_if_needed()
            for control in box.locator(".vc-knobs input, .vc-knobs select").all():
                pictures = all_looks(page, box, control)
                assert len(pictures) > 1, f"{page.url}: nothing changes"
                assert box.locator(".vc-said").inner_text().strip(), "nothing is said"
                moved += 1
                report("explorables", f"{page.url.rpartition('/')[2]} {moved}", len(pictures))
    assert [url.partition("/html/")[2] or url for url in passed] == [
        f"{name}.html" for name in pages()
    ]
    assert moved >= len(CHAPTERS)


@pytest.mark.parametrize("name", CHAPTERS, ids=lambda name: name.rpartition("/")[2])
def test_every_chapter_has_a_view_to_explore_and_a_cover(open_page, name):
    page = open_page(name)
    assert page.locator(CONTROLS).count() >= 1
    assert page.locator("figure.vc-cover img:visible").count() == 1


def test_a_pointer_moves_a_slider_too(open_page):
    page = open_page("book/chapters/02_most_exciting_inputs")
    box = page.locator(".vc-explorable").first
    slider = box.locator("input").first
    slider.scroll_into_view_if_needed()
    before, frame = looks(page, box), slider.bounding_box()
    for share in (0.05, 0.95):
        page.mouse.click(frame["x"] + share * frame["width"], frame["y"] + frame["height"] / 2)
    assert slider.evaluate("s => s.value === s.max")
    page.mouse.click(frame["x"] + 3, frame["y"] + frame["height"] / 2)
    assert slider.evaluate("s => s.value") == "0"
    slider.evaluate("s => { s.value = s.max; s.dispatchEvent(new Event('input')); }")
    assert looks(page, box) != before


@pytest.mark.parametrize("view", [("wide", "light"), ("wide", "dark"), ("phone", "light")], ids=str)
def test_accessible(open_page, report, page_name, view):
    """Nothing that axe calls serious; its rules tell contrast, names, landmarks, order, focus."""
    size, theme = view
    page = open_page(page_name, size=size, theme=theme)
    page.evaluate(SEE_ALL)
    # axe would ask for the style sheets again, which a browser does not give from files
    found = axe.Axe().run(page, options={"preload": False}).response["violations"]
    told = {f["id"]: (f["impact"], len(f["nodes"])) for f in found}
    report("axe", f"{page_name} {size} {theme}", told)
    faults = [
        f"{f['id']}: {f['nodes'][0]['html'][:160]} {f['nodes'][0]['failureSummary'][:300]}"
        for f in found
        if f["impact"] in SERIOUS
    ]
    assert faults == []


@pytest.mark.parametrize("view", [("wide", "light"), ("wide", "dark"), ("phone", "light")], ids=str)
def test_pictures_are_there_and_nothing_is_cut_off(open_page, page_name, view):
    size, theme = view
    page = open_page(page_name, size=size, theme=theme)
    page.evaluate(SEE_ALL)
    page.wait_for_function(f"() => ({BROKEN})().length === 0", timeout=5000)
    wide, shown = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= shown, f"the page is {wide} px wide on a screen of {shown}"
    folder = REPORT / "shots"
    folder.mkdir(parents=True, exist_ok=True)
    name = page_name.rpartition("/")[2]
    page.screenshot(path=folder / f"{name}-{size}-{theme}.png")
    page.screenshot(path=folder / f"{name}-{size}-{theme}-whole.png", full_page=True)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_each_figure_is_shown_once_in_the_colours_of_the_page(open_page, theme):
    page = open_page("book/chapters/05b_deconvolution", theme=theme)
    figures = page.locator(".cell_output figure, figure.vc-cover, .vc-explorable figure")
    assert figures.count() > 3
    for figure in figures.all():
        assert figure.locator("img:visible").count() == 1
    assert page.locator(f"img.only-{'dark' if theme == 'light' else 'light'}:visible").count() == 0


def test_the_keyboard_reaches_the_text_first(open_page):
    page = open_page("book/chapters/01_mouse_decoding")
    page.keyboard.press("Tab")
    words = page.evaluate("document.activeElement.textContent.trim()")
    assert "main content" in words
    assert page.evaluate("document.activeElement.checkVisibility()")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("!!document.activeElement.closest('main')")


def test_focus_can_be_seen(open_page):
    page = open_page("book/chapters/02_most_exciting_inputs")
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("""() => {
            const style = getComputedStyle(document.activeElement);
            const shown = parseFloat(style.outlineWidth) >= 1 && style.outlineStyle !== "none";
            return shown || style.boxShadow !== "none" ? "" : document.activeElement.outerHTML;
        }"""))
    assert {text[:200] for text in seen} == {""}


def test_nothing_moves_for_those_who_want_it_so(open_page, page_name):
    page = open_page(page_name, reduced_motion="reduce")
    moving = page.evaluate("""() => [...document.querySelectorAll("*")].filter(element => {
        const style = getComputedStyle(element);
        const longest = list => Math.max(...list.split(",").map(parseFloat));
        return longest(style.transitionDuration) > 0.01 || longest(style.animationDuration) > 0.01
            || style.scrollBehavior === "smooth";
    }).map(element => element.outerHTML.slice(0, 120))""")
    assert moving == []


def test_a_term_tells_what_it_means_to_pointer_and_keyboard(open_page):
    page = open_page("book/chapters/01_mouse_decoding")
    term = page.locator("main a[href*='glossary.html#term']").first
    tip = page.locator("[role=tooltip]:visible")
    assert tip.count() == 0
    term.hover()
    tip.wait_for()
    assert len(tip.inner_text()) > 30
    page.keyboard.press("Escape")
    assert tip.count() == 0
    page.mouse.move(5, 5)
    term.focus()
    tip.wait_for()
    assert term.get_attribute("aria-describedby") == tip.get_attribute("id")


def test_search_finds_a_word_of_a_chapter(browser, server):
    page = browser.new_page()
    page.goto(f"{server}/search.html?q=deconvolution")
    page.locator("#search-results li a").first.wait_for(timeout=20000)
    found = page.locator("#search-results li a").all_inner_texts()
    assert any("calcium" in text.lower() for text in found)
    page.close()


def test_the_theme_is_chosen_by_a_button_and_kept(open_page):
    page = open_page("book/index")
    theme = "() => document.documentElement.dataset.theme"
    button = page.locator("button.theme-switch-button:visible").first
    seen = {page.evaluate(theme)}
    for _ in range(3):
        button.click()
        seen.add(page.evaluate(theme))
    assert seen == {"light", "dark"}


def test_a_chapter_prints_on_white_without_what_surrounds_it(open_page):
    page = open_page("book/chapters/05b_deconvolution", theme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    hidden = (".bd-sidebar-primary", ".bd-sidebar-secondary", ".prev-next-footer", ".vc-knobs")
    for selector in hidden:
        for element in page.locator(selector).all():
            assert not element.is_visible(), selector
    assert page.locator("img.only-dark:visible").count() == 0
    body = "() => getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(body) in ("rgb(255, 255, 255)", "rgba(0, 0, 0, 0)")
    REPORT.mkdir(parents=True, exist_ok=True)
    page.pdf(path=REPORT / "chapter.pdf", format="A4", prefer_css_page_size=True)
    assert (REPORT / "chapter.pdf").stat().st_size > 50_000


def test_a_page_is_light_and_its_first_paint_is_told(browser, server, report, page_name):
    """The time is measured for the report alone."""
    times = []
    for _ in range(3):
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{server}/{page_name}.html", wait_until="load")
        times.append(page.evaluate("""() => new Promise(done => {
            const told = () => performance.getEntriesByName("first-contentful-paint")[0];
            const wait = () => told() ? done(told().startTime) : setTimeout(wait, 20);
            wait();
        })"""))
        context.close()
    html = (SITE / f"{page_name}.html").stat().st_size
    report("first_paint_ms", page_name, round(sorted(times)[1]))
    report("html_bytes", page_name, html)
    assert html < 1_000_000, "bytes without pictures, which are files of their own"
