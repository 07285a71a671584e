"""Define the look of the HTML page of a report, and the script that sorts and unfolds it."""

STYLE = """\
:root {
  --text: #1f2328; --soft: #59636e; --line: #d1d9e0;
  --back: #ffffff; --box: #f6f8fa; --link: #0969da;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #f0f6fc; --soft: #9198a1; --line: #3d444d;
    --back: #0d1117; --box: #151b23; --link: #4493f8;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1rem; max-width: 62rem; overflow-wrap: anywhere;
  font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back);
}
h1 { font-size: 1.6rem; }
h2, h3 { margin-top: 2rem; padding-bottom: 0.2rem; border-bottom: 1px solid var(--line); }
a { color: var(--link); }
code { padding: 0.1em 0.3em; border-radius: 4px; background: var(--box); font-size: 0.9em; }
pre { padding: 0.8rem; overflow-x: auto; border-radius: 6px; background: var(--box); }
pre code { padding: 0; overflow-wrap: normal; }
img { display: block; width: 44rem; max-width: none; height: auto; background: #ffffff; }
p:has(> img) { overflow-x: auto; }
nav, details, img { border: 1px solid var(--line); border-radius: 6px; }
nav { padding: 0.5rem 1rem; background: var(--box); }
nav ol { margin: 0.5rem 0 0; padding-left: 1.5rem; columns: 16rem; }
.scroll { margin: 1rem 0; overflow-x: auto; overflow-wrap: break-word; }
.scroll + p > em:only-child { color: var(--soft); font-size: 0.85rem; }
table { width: max-content; border-collapse: collapse; }
th, td { max-width: 18rem; padding: 0.3rem 0.6rem; border: 1px solid var(--line); }
th, td { font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th { max-width: 8rem; background: var(--box); overflow-wrap: anywhere; }
td[style*=right] { white-space: nowrap; }
th button { padding: 0; border: 0; background: none; color: inherit; font: inherit; }
th button { text-align: inherit; cursor: pointer; }
th[aria-sort=ascending] button::after { content: " \\25b2"; }
th[aria-sort=descending] button::after { content: " \\25bc"; }
details { margin: 1rem 0; padding: 0 1rem; }
summary { margin: 0 -1rem; padding: 0.6rem 1rem; cursor: pointer; font-weight: 600; }
details[open] > summary { border-bottom: 1px solid var(--line); background: var(--box); }
nav details, nav details[open] > summary { border: 0; }
nav details, nav summary { margin: 0; padding: 0; }
"""

SCRIPT = """\
const SCALES = { k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18 };

function number(text) {
  const parts = text.match(/^[<~[]?\\s*([-+]?[\\d.,]+)\\s*([kMGTPE]?)(?![\\w])/);
  return parts ? parseFloat(parts[1].replaceAll(",", "")) * (SCALES[parts[2]] ?? 1) : NaN;
}

function compare(one, other) {
  const numbers = [number(one), number(other)];
  return numbers.some(isNaN) ? one.localeCompare(other) : numbers[0] - numbers[1];
}

function sort(head, column) {
  const body = head.closest("table").tBodies[0];
  const text = (row) => row.cells[column].textContent.trim();
  const sign = head.ariaSort === "ascending" ? -1 : 1;
  const numbered = [...body.rows].filter((row) => text(row) !== "\\u2013");
  const empty = [...body.rows].filter((row) => text(row) === "\\u2013");
  numbered.sort((one, other) => sign * compare(text(one), text(other)));
  body.append(...numbered, ...empty);
  for (const other of head.parentNode.cells) other.ariaSort = null;
  head.ariaSort = sign > 0 ? "ascending" : "descending";
}

for (const table of document.querySelectorAll("table")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(head, column));
    head.append(button);
  });
}

function unfold() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let part = target; part; part = part.parentElement) {
    if (part.tagName === "DETAILS") part.open = true;
  }
  target?.scrollIntoView();
}

addEventListener("hashchange", unfold);
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});
unfold();
"""
