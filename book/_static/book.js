/* What glossary terms and citations say, shown beside them: pointed at, or reached by keyboard.
   The texts lie in the page, in <template id="vc-hover-...">; nothing is loaded. A tap follows the link. */

(() => {
  const PREFIX = "vc-hover-";
  const OPENS = 250; // ms that the pointer rests before the text shows
  const CLOSES = 200; // ms in which the pointer may cross from the link to the text
  let bubble, owner, timer;

  const textOf = (link) => {
    const at = link.getAttribute("href").indexOf("#");
    const fragment = decodeURIComponent(link.getAttribute("href").slice(at + 1));
    const template = document.getElementById(PREFIX + fragment);
    if (template) return template.content.cloneNode(true);
    return at === 0 && fragment.startsWith("term-") ? fromGlossary(fragment) : null;
  };

  // on the page of the glossary itself the definition is there to be read
  const fromGlossary = (fragment) => {
    const entry = document.getElementById(fragment)?.nextElementSibling;
    if (!entry) return null;
    const text = document.createDocumentFragment();
    for (const child of entry.children) text.append(child.cloneNode(true));
    text.querySelectorAll("a").forEach((a) => a.replaceWith(...a.childNodes));
    return text;
  };

  const made = () => {
    if (bubble) return bubble;
    bubble = document.createElement("div");
    bubble.id = "vc-hover";
    bubble.className = "vc-hover";
    bubble.setAttribute("role", "tooltip");
    bubble.hidden = true;
    bubble.addEventListener("pointerenter", () => clearTimeout(timer));
    bubble.addEventListener("pointerleave", () => close(CLOSES));
    document.body.append(bubble);
    return bubble;
  };

  const place = (link) => {
    // of a link that is broken over two lines, the first
    const at = link.getClientRects()[0];
    if (!at) return;
    const room = document.documentElement.clientWidth;
    const width = Math.min(bubble.offsetWidth, room - 24);
    const below = at.bottom + 8 + bubble.offsetHeight < window.innerHeight || at.top < bubble.offsetHeight + 16;
    bubble.style.left = `${Math.max(12, Math.min(at.left, room - width - 12)) + window.scrollX}px`;
    bubble.style.top = `${(below ? at.bottom + 6 : at.top - bubble.offsetHeight - 6) + window.scrollY}px`;
  };

  const show = (link) => {
    const text = textOf(link);
    if (!text) return;
    hide();
    made().replaceChildren(text);
    bubble.hidden = false;
    owner = link;
    link.setAttribute("aria-describedby", bubble.id);
    place(link);
    if (bubble.querySelector(".math") && window.MathJax?.typesetPromise) {
      window.MathJax.typesetPromise([bubble]).then(() => owner === link && place(link));
    }
  };

  const hide = () => {
    clearTimeout(timer);
    if (!owner) return;
    owner.removeAttribute("aria-describedby");
    owner = undefined;
    bubble.hidden = true;
  };

  const open = (link, after) => {
    clearTimeout(timer);
    if (owner !== link) timer = setTimeout(() => show(link), after);
  };

  const close = (after) => {
    clearTimeout(timer);
    timer = setTimeout(hide, after);
  };

  const attach = (link) => {
    link.removeAttribute("title"); // the browser's own bubble would cover this one
    link.addEventListener("pointerenter", (event) => event.pointerType !== "touch" && open(link, OPENS));
    link.addEventListener("pointerleave", () => close(CLOSES));
    link.addEventListener("focus", () => link.matches(":focus-visible") && open(link, 0));
    link.addEventListener("blur", () => close(0));
  };

  document.querySelectorAll("article a.reference.internal[href*='#']").forEach((link) => {
    if (textOf(link)) attach(link);
  });
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
})();

/* A slash opens the search, as Ctrl+K does, unless something is being written. */
document.addEventListener("keydown", (event) => {
  const writing = event.target.closest?.("input, select, textarea, [contenteditable]");
  if (event.key !== "/" || writing || event.ctrlKey || event.metaKey || event.altKey) return;
  const button = document.querySelector(".search-button-field, .search-button__button, .search-button");
  if (!button) return;
  event.preventDefault();
  button.click();
});

/* Paper is white, also for who reads by night; a picture that was not yet near is loaded for it. */
(() => {
  const page = document.documentElement;
  let before;
  window.addEventListener("beforeprint", () => {
    before = page.dataset.theme;
    page.dataset.theme = "light";
    document.querySelectorAll("img[loading=lazy]").forEach((image) => image.setAttribute("loading", "eager"));
  });
  window.addEventListener("afterprint", () => {
    if (before) page.dataset.theme = before;
  });
})();

/* A formula that is wider than its page scrolls, and so has to be reached by the keyboard. */
(() => {
  const mark = () => document.querySelectorAll('mjx-container[display="true"]').forEach((formula) => {
    if (formula.scrollWidth > formula.clientWidth) formula.setAttribute("tabindex", "0");
    else formula.removeAttribute("tabindex");
  });
  const ready = () => window.MathJax?.startup?.promise?.then(mark);
  window.addEventListener("load", ready);
  window.addEventListener("resize", mark);
})();
