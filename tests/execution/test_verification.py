"""What `verify` says where it cannot compare, and how it reads a long lock."""

from typing import NamedTuple

import pytest
from written import FILES

from pipeline.execution import verification
from pipeline.execution.stage import Incomplete
from pipeline.execution.verification import INPUTS, _unrecorded, compared_files, differences
from pipeline.report import read_summaries
from pipeline.reporting.claims_index import claims_page
from pipeline.reporting.index import index_page
from pipeline.runtime.errors import Refusal


class Parameters(NamedTuple):
    """What verification reads of `params.yaml`."""

    protocols: list[str]


NO_GIT = "[core]\n    no_scm = true\n"
REMOTE = f"{NO_GIT}    remote = shared\n['remote \"shared\"']\n    url = /nowhere\n"
STAGE = """  {verb}@{protocol}:
    outs:
    - path: artifacts/{protocol}/{name}
      md5: "0"
"""


@pytest.mark.parametrize(("config", "cure"), [(NO_GIT, ""), (REMOTE, ", or dvc pull")])
def test_what_is_missing_is_pulled_only_from_a_remote(tmp_path, monkeypatch, config, cure):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(config)
    with pytest.raises(Refusal) as refused:
        differences("tiny")
    assert refused.value.lines == (
        f"artifacts/tiny/data: missing; run: gapwise run --protocol tiny{cure}",
    )


def test_what_cannot_be_recomputed_has_its_headline_and_the_index_verified(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(NO_GIT)
    for name in ("tiny", "other"):
        folder = tmp_path / "reports" / name
        for file, text in FILES.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(verification, "read_parameters", lambda: Parameters(["tiny"]))
    summaries = read_summaries(tmp_path / "reports")
    (tmp_path / "reports" / "README.md").write_text(index_page(summaries, {}, {}))
    (tmp_path / "reports" / "claims.md").write_text(claims_page(summaries, {}, {}))
    missing = "artifacts/tiny/data: missing; run: gapwise run --protocol tiny"
    with pytest.raises(Refusal) as refused:
        verification.verify([])
    assert refused.value.lines == (missing,)
    assert capsys.readouterr().out.count("its headline agrees") == 2
    index = tmp_path / "reports" / "README.md"
    index.write_text(index.read_text().replace("+2.5", "+2.6"))
    front = tmp_path / "reports" / "tiny" / "report.md"
    front.write_text(front.read_text().replace("helps |", "hurts |"))
    with pytest.raises(Incomplete) as incomplete:
        verification.verify([])
    of_front, of_index, last = str(incomplete.value).splitlines()
    assert of_front.startswith("reports/tiny/report.md: the table has hurts of dropout")
    assert of_index.startswith("reports/README.md: differs")
    assert last == missing
    with pytest.raises(Refusal, match="missing"):
        verification.verify(["tiny"])


def test_a_lock_of_many_protocols_is_read(tmp_path):
    stages = [
        STAGE.format(verb="prepare", protocol=f"protocol_{number}", name="data")
        for number in range(1000)
    ]
    (tmp_path / "dvc.lock").write_text("stages:\n" + "".join(stages))
    (tmp_path / "artifacts" / "protocol_7" / "data").mkdir(parents=True)
    first, *others = _unrecorded("protocol_7", tmp_path)
    remedy = "run: gapwise run --protocol protocol_7"
    assert first == f"artifacts/protocol_7/data: is not what dvc.lock records; {remedy}"
    assert others == [
        f"artifacts/protocol_7/{name}: dvc.lock does not record it; {remedy}"
        for name in ("exploration", "confirmation", "predictions")
    ]
    for name in INPUTS:
        (tmp_path / "artifacts" / "tiny" / name).mkdir(parents=True)
    (tmp_path / "dvc.lock").unlink()
    with pytest.raises(Refusal, match=r"^dvc.lock: missing; .*; run: gapwise run --protocol tiny$"):
        differences("tiny", tmp_path)


def test_every_file_of_a_report_is_compared_wherever_it_is(tmp_path):
    root, again = tmp_path / "root", tmp_path / "again"
    report = ("figures/gap.svg", "figures/gap.png", "seeds.csv", "table.tex", "timing.md")
    for place, names in ((root, ("README.md", "tiny.html")), (again, ("README.md", "effects.png"))):
        for name in (*names, *(f"tiny/{name}" for name in report), "other/seeds.csv"):
            path = place / "reports" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
    (root / "reports" / "tiny" / "extra.md").write_text("")
    (root / "reports" / "tiny" / "ledger.jsonl").write_text("")  # has lines of its own
    tables = ((again, "seeds.csv"), (again, "figures.json"), (root, "stray.csv"), (root, ".lock"))
    for place, name in tables:
        path = place / "artifacts" / "tiny" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert [path.as_posix() for path in compared_files("tiny", root, again)] == [
        "artifacts/tiny/seeds.csv",
        "artifacts/tiny/stray.csv",
        "reports/README.md",
        "reports/effects.png",
        "reports/tiny/extra.md",
        "reports/tiny/figures/gap.png",
        "reports/tiny/figures/gap.svg",
        "reports/tiny/seeds.csv",
        "reports/tiny/table.tex",
    ]
