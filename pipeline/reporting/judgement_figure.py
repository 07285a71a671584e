"""Draw the forest plot of results that were trained elsewhere."""

from dataclasses import replace

from matplotlib.figure import Figure

from pipeline.comparison.judging import Judgement
from pipeline.reporting.judgement import formatter_of, judged_rows, metric_of
from pipeline.reporting.plots.forest import forest, largest
from pipeline.reporting.style import colors

LONGEST = 22  # letters of a name


def judgement_forest(judged: Judgement) -> Figure:
    """Return a figure with a line for every arm; arms with the same reference are together."""
    rows = largest(judged_rows(judged))
    titles = [_plain(arm) for arm in rows["arm"]]
    references = [_plain(arm) for arm in rows["reference"]]
    rows = rows.assign(title=titles, against=references, family="other")
    metric = metric_of(judged)
    metric = replace(metric, title=_plain(metric.title))
    return forest(rows, judged.margin, colors(rows["arm"]), formatter_of(judged), metric)


def _plain(text: str) -> str:
    """Return free text as one line that matplotlib does not read as a formula.

    Of a long one the middle is left out: names made of settings differ at their ends.
    """
    line = " ".join(text.split())
    if len(line) > LONGEST:
        line = f"{line[: LONGEST // 2 - 1]}…{line[-LONGEST // 2 :]}"
    return line.replace("$", r"\$")
