"""What `verify` says where it cannot compare, and how it reads a long lock."""

import pytest

from pipeline.execution.verification import INPUTS, _unrecorded, compared_files, differences
from pipeline.runtime.errors import Refusal

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
    assert refused.value.lines == (f"artifacts/tiny/data: missing; run: make run{cure}",)


def test_a_lock_of_many_protocols_is_read(tmp_path):
    stages = [
        STAGE.format(verb="prepare", protocol=f"protocol_{number}", name="data")
        for number in range(1000)
    ]
    (tmp_path / "dvc.lock").write_text("stages:\n" + "".join(stages))
    (tmp_path / "artifacts" / "protocol_7" / "data").mkdir(parents=True)
    first, *others = _unrecorded("protocol_7", tmp_path)
    assert first == "artifacts/protocol_7/data: is not what dvc.lock records; run: make run"
    assert others == [
        f"artifacts/protocol_7/{name}: dvc.lock does not record it; run: make run"
        for name in ("exploration", "confirmation", "predictions")
    ]
    for name in INPUTS:
        (tmp_path / "artifacts" / "tiny" / name).mkdir(parents=True)
    (tmp_path / "dvc.lock").unlink()
    with pytest.raises(Refusal, match=r"^dvc.lock: missing; .*; run: make run$"):
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
