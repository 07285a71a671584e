"""The LaTeX table: rows of equal length, balanced, and nothing that LaTeX reads otherwise."""

import dataclasses
import re

import pytest
from report_data import NAN, VERDICTS, report_data

from pipeline.comparison import judge
from pipeline.reporting.judgement import judgement_latex
from pipeline.reporting.latex import HEAD, escape_latex, latex_table

DATA = report_data({"layers": dict.fromkeys(VERDICTS, "deterministic")}, VERDICTS)
COMMANDS = {
    *("begin", "end", "caption", "centering", "label", "toprule", "midrule", "bottomrule"),
    *("textbackslash", "textasciitilde", "textasciicircum"),
    *("footnotesize", "setlength", "tabcolsep"),
}


def rows(text: str) -> list[list[str]]:
    """Return the cells of every row of the table, after a check of what surrounds them."""
    code = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    plain = re.sub(r"\\[&%$#_{}]", "", code)
    assert plain.count("{") == plain.count("}")
    assert plain.count("$") % 2 == 0
    assert set(re.findall(r"\\([a-z]+)", code)) <= COMMANDS
    opened = []
    for word, name in re.findall(r"\\(begin|end)\{(\w+)\}", code):
        if word == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert not opened
    body = re.search(r"\\begin\{tabular\}\{(\w+)\}(.*)\\end\{tabular\}", code, re.DOTALL)
    lines = [line for line in body[2].splitlines() if line.endswith("\\\\")]
    cells = [re.split(r"(?<!\\)&", line.removesuffix("\\\\")) for line in lines]
    assert {len(row) for row in cells} == {len(body[1])}
    return [[cell.strip() for cell in row] for row in cells]


def test_every_arm_is_a_row_the_best_first() -> None:
    head, *body = rows(latex_table(DATA))
    assert len(head) == len(HEAD)
    assert [row[0] for row in body] == list(VERDICTS)
    assert body[0][1:5] == ["helps", "$+2.0$", "$[+1.5, +2.5]$", "$+2.0$"]
    assert body[2][1] == "helps, below the margin"
    assert body[-1][2] == "$-3.0$"


def test_costs_are_those_of_the_arm_and_p_is_corrected() -> None:
    contrasts = DATA.contrasts.copy()
    arm = next(iter(VERDICTS))
    planted = {
        "training_cost": {"arm_mean": 2.5, "difference": 1.5},
        "test_cost": {"arm_mean": 12.0, "difference": 11.0},
        "test_accuracy": {"p": 0.01, "p_holm": 0.03, "n": 7},
    }
    for metric, values in planted.items():
        is_row = (contrasts["arm"] == arm) & (contrasts["metric"] == metric)
        assert is_row.sum() == 1
        contrasts.loc[is_row, list(values)] = list(values.values())
    _, first, *_ = rows(latex_table(dataclasses.replace(DATA, contrasts=contrasts)))
    assert first[5:] == ["2.50", "12.00", "7", "$0.030$"]


def test_names_are_escaped_and_what_is_unknown_is_a_dash() -> None:
    changed = dataclasses.replace(
        report_data({"layers": {"a_b": "deterministic"}}, {"a_b": (0.0, "inconclusive")})
    )
    changed = dataclasses.replace(changed, contrasts=changed.contrasts.assign(p_holm=NAN))
    _, *body = rows(latex_table(changed))
    assert {row[0] for row in body} == {r"a\_b"}
    assert {row[-1] for row in body} == {"--"}


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a_b & 5 %", r"a\_b \& 5 \%"),
        (r"\x", r"\textbackslash{}x"),
        ("p < 0.1", "p $<$ 0.1"),
        ("{~^#$}", r"\{\textasciitilde{}\textasciicircum{}\#\$\}"),
    ],
)
def test_what_latex_reads_as_commands_is_escaped(text: str, escaped: str) -> None:
    assert escape_latex(text) == escaped


def test_results_from_elsewhere_make_a_table_of_the_same_form() -> None:
    wide = {"baseline": [0.91, 0.92, 0.9], "a_b": [0.94, 0.951, 0.929]}
    head, *body = rows(judgement_latex(judge(wide), "mine"))
    assert head == [
        *("arm", "verdict", "difference", r"95 \% interval", "arm mean", "reference", "$n$", "$p$")
    ]
    assert body == [
        [r"a\_b", "helps", "$+3.0$", "$[+2.8, +3.2]$", "$94.0$", "$91.0$", "3", "$< 0.001$"]
    ]
    costly = judge(wide).seeds.assign(cost=3.0, reference_cost=2.0)
    text = judgement_latex(judge(costly), "a b_c")
    assert [row[-1] for row in rows(text)] == ["cost", "1.50"]
    assert r"\label{tab:a-b_c}" in text
