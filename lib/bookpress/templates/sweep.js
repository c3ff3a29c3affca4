// The page is whole without this: it sorts the table of runs, and hides what is not asked for.
const table = document.getElementById("all"), body = table.tBodies[0], form = document.querySelector(".filter");
const rows = [...body.rows];
const content = (row, k) => row.cells[k].dataset.v ?? row.cells[k].textContent.trim();
const compare = (a, b) => a === "" || b === "" ? (a === "") - (b === "") : isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;

[...table.tHead.rows[0].cells].slice(0, -1).forEach((head, k) => {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    rows.sort((a, b) => (down ? -1 : 1) * compare(content(a, k), content(b, k)));
    body.append(...rows);
  });
});

form.hidden = false;
form.addEventListener("submit", event => event.preventDefault());
form.addEventListener("input", () => {
  const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean), state = form.elements.state.value;
  for (const row of rows) {
    const text = (row.textContent + " " + row.cells[0].title).toLowerCase();
    row.hidden = (state && row.dataset.state !== state) || !words.every(word => text.includes(word));
  }
  form.querySelector("output").value = `${rows.filter(row => !row.hidden).length} of ${rows.length}`;
});
