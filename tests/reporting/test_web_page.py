"""The HTML page of a report: whole, without a network, safe, and readable on a phone."""

import json
import re
import shutil
import subprocess

import pytest
from waiting import PATIENCE

from pipeline.reporting.web_page import web_page

PNG, SVG = b"\x89PNG", b"<svg xmlns='http://www.w3.org/2000/svg' width='900' height='9'/>"
FIGURES = {"figures/gap.png": PNG, "figures/gap.svg": SVG, "figures/old.png": PNG}
WIDE = " | ".join(["a long cell of many words"] * 12)
FRONT = f"""# Which <script> & why: tiny

Of **all** arms, see [the gap](pages/gap.md#parts-of-it) and [a paper](https://example.org).

| arm | difference |
| --- | ---: |
| dropout | +10.5 |
| mixup | -2.0 |
| unknown | – |
| shift | +9.1 |

*A caption.*

| {WIDE} |
|{" --- |" * 12}
| {WIDE} |

[Scores](seeds.csv) and [protocol](../../experiments/protocols/tiny.yaml)

{"w" * 200}

![A gap](figures/gap.png) ![An old one](figures/old.png) ![Missing](figures/no.png)

- [Cost](pages/cost.md)
- [The gap](pages/gap.md)
"""
GAP = """[← the report](../report.md)

# The gap

## Parts of it

See [cost](cost.md), [above](#parts-of-it), [the front page](../report.md).

<details><summary>More</summary>

Inside. <script>alert(1)</script> <img src=x onerror=alert(1)> <!-- hidden -->

</details>
"""
PAGES = {"report.md": FRONT, "pages/gap.md": GAP, "pages/cost.md": "# Cost\n\nNone.\n"}
PAGE = web_page(PAGES, FIGURES)


def test_lines_break_after_underscores_of_names_but_not_in_code() -> None:
    page = web_page({"report.md": "# A\n\nlearning_rate_of_<b and `weight_decay`\n"}, {})
    assert "<p>learning_<wbr>rate_<wbr>of_<wbr>&lt;b and <code>weight_decay</code></p>" in page


def test_every_page_is_there_in_the_order_of_the_front_page():
    contents = PAGE.partition("</nav>")[0]
    assert re.findall(r'<li><a href="#(\w+)">(.*?)</a>', contents) == [
        ("cost", "Cost"),
        ("gap", "The gap"),
    ]
    assert re.findall(r'<details class="page" id="(\w+)"><summary>(.*?)<', PAGE) == [
        ("cost", "Cost"),
        ("gap", "The gap"),
    ]
    assert "the report</a>" not in PAGE
    assert "<title>Which &lt;script&gt; &amp; why: tiny</title>" in PAGE


def test_links_lead_to_places_in_the_page_or_to_the_web():
    assert '<a href="#gap--parts-of-it">the gap</a>' in PAGE
    assert '<a href="#gap--parts-of-it">above</a>' in PAGE
    assert '<a href="#cost">cost</a>' in PAGE
    assert '<a href="#report">the front page</a>' in PAGE
    assert "<p>Scores and protocol</p>" in PAGE
    ids = set(re.findall(r'id="([^"]+)"', PAGE))
    assert set(re.findall(r'href="#([^"]+)"', PAGE)) <= ids


def test_nothing_is_loaded():
    sources = re.findall(r'src="([^"]*)"', PAGE)
    assert [source.partition(",")[0] for source in sources] == [
        "data:image/svg+xml;base64",
        "data:image/png;base64",
        "",
    ]
    assert re.findall(r'href="([^#"][^"]*)"', PAGE) == ["https://example.org"]
    assert "default-src 'none'" in PAGE
    assert "<link" not in PAGE
    assert "@import" not in PAGE


def test_raw_html_is_text_but_for_folded_parts():
    assert "<details><summary>More</summary>" in PAGE
    assert "&lt;script>alert(1)" in PAGE
    assert "&lt;img src=x" in PAGE
    assert "hidden" not in PAGE
    assert PAGE.count("<script>") == 1
    assert PAGE.count("<details") == PAGE.count("</details>") == 4  # the list of pages is one


def test_tables_are_in_boxes_of_their_own():
    assert PAGE.count('<div class="scroll"><table>') == PAGE.count("</table></div>") == 2


MEASURE = """<script>
for (const part of document.querySelectorAll("details")) part.open = true;
const [table] = document.querySelectorAll("table");
const column = (number) => [...table.tBodies[0].rows].map((row) => row.cells[number].textContent);
const click = (number) => table.querySelectorAll("th button")[number].click();
click(1); const rising = column(1); click(1); const falling = column(1); click(0);
const boxes = [...document.querySelectorAll(".scroll")];
parent.postMessage({
  width: innerWidth, rising, falling,
  room: document.documentElement.clientWidth,  // without the bar that scrolls the page down
  content: document.documentElement.scrollWidth,
  names: column(0), scrolls: boxes.map((box) => box.scrollWidth > box.clientWidth),
}, "*");
</script>"""
FRAMES = """<body><iframe src="page.html" width=1000></iframe><iframe src="page.html" width=400>
</iframe><script>
const heard = [];
addEventListener("message", (message) => {
  heard.push(message.data);
  document.body.dataset.heard = JSON.stringify(heard);
});
</script></body>"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Return what the page measures in a browser, by its width."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no Chromium here")
    folder = tmp_path_factory.mktemp("browser")
    (folder / "page.html").write_text(PAGE.replace("</body>", f"{MEASURE}</body>"))
    (folder / "frames.html").write_text(FRAMES)
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000"]
    command += ["--dump-dom", f"--user-data-dir={folder / 'user'}", f"file://{folder}/frames.html"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    heard = re.search(r'data-heard="([^"]*)"', ended.stdout)[1].replace("&quot;", '"')
    return {frame["width"]: frame for frame in json.loads(heard)}


@pytest.mark.parametrize("width", [1000, 400])
def test_a_browser_scrolls_wide_tables_and_never_the_page(measured, width):
    frame = measured[width]
    assert width - 20 < frame["content"] == frame["room"]
    assert frame["scrolls"] == [False, True]


def test_a_browser_sorts_numbers_by_value_and_dashes_last(measured):
    for frame in measured.values():
        assert frame["rising"] == ["-2.0", "+9.1", "+10.5", "–"]
        assert frame["falling"] == ["+10.5", "+9.1", "-2.0", "–"]
        assert frame["names"] == ["dropout", "mixup", "shift", "unknown"]
