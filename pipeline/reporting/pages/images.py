"""Write the page of classes: accuracy by class, and the test images that change sides."""

from collections.abc import Iterator

from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.pages._page import Page

ORDER = 25
COLUMNS = 4  # arms in the table of classes
FIGURE = (
    "Test images that an arm classifies correctly at more seeds than its reference does, and "
    "images that it classifies correctly at fewer seeds"
)
NOTE = (
    "Above each image: its class, and the percentage of seeds at which the network classifies it "
    "correctly, reference → arm. The images with the largest changes are shown, if the change is a "
    "quarter of the seeds or more. They were selected by the result, so they illustrate it and are "
    "not evidence."
)
ROWS = (
    "`artifacts/{protocol}/flips.csv` lists the rows of the test set that an arm classifies "
    "correctly at more seeds, or at fewer seeds, than its reference does. Rows are numbered from "
    "0."
)


def pages(data: ReportData) -> Iterator[Page]:
    """Yield the page, if any arm has a verdict that names a direction."""
    keys = [key for key in data.decided if _has_classes(data, key)][:COLUMNS]
    if not keys:
        return
    title = "Classes" if data.is_table else "Classes and images"
    yield Page(
        "images", title, md.join_parts(f"# {title}", _class_table(data, keys), _flipped(data, keys))
    )


def _flipped(data: ReportData, keys: list[tuple[str, str]]) -> str:
    """Return the figure of images that change sides; of rows where they are listed."""
    if not set(zip(data.flips["study"], data.flips["arm"], strict=True)).intersection(keys):
        return ""
    if data.is_table:
        return ROWS.format(protocol=data.confirmation.protocol)
    return f"![{FIGURE}](../figures/flips.png)\n\n*{NOTE}*"


def _has_classes(data: ReportData, key: tuple[str, str]) -> bool:
    table = data.classes
    return bool(((table["study"] == key[0]) & (table["arm"] == key[1])).any())


def _class_table(data: ReportData, keys: list[tuple[str, str]]) -> str:
    """Return a row per class: examples, then each reference with the changes of its arms."""
    tables = {
        key: data.classes[(data.classes["study"] == key[0]) & (data.classes["arm"] == key[1])]
        for key in keys
    }
    by_label = {key: table.set_index("label") for key, table in tables.items()}
    by_reference: dict[str, list[tuple[str, str]]] = {}
    for key in keys:
        by_reference.setdefault(data.against(*key), []).append(key)
    rows = []
    for label, row in by_label[keys[0]].iterrows():
        name = md.escape(data.class_name(int(label)))
        cells = {"class": name, "examples": f"{row['images']:.0f}"}
        for reference, arms in by_reference.items():
            before = by_label[arms[0]].loc[label, "before"]
            cells[f"{reference} (%)"] = data.format.percent(before)
            for key in arms:
                change = by_label[key].loc[label, "difference"]
                cells[data.label(*key)] = data.format.points(change)
        rows.append(cells)
    caption = (
        "Column in %: test accuracy of a reference, by class. Columns to its right: arm minus this "
        "reference, in points. Of the arms that help or hurt, at most "
        f"{COLUMNS} are shown, those with the largest differences. Means over the seeds of the "
        "arm. Rule: the test rule of each arm. Intervals are not shown."
    )
    return md.format_table(rows, caption, words=("class",))
