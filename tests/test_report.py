"""The stage `report` on small artifacts: what it says, that it repeats, what it leaves behind."""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sentences import lost_runs

from pipeline import compare, evaluate, report
from pipeline.comparison.other_images import COLUMNS as HEAD
from pipeline.comparison.verdicts import LOST_RUNS
from pipeline.config.yaml_files import read_yaml
from pipeline.data import sources
from pipeline.data.prepared import write_prepared
from pipeline.data.splits import hold_out
from pipeline.records.runs import write_record
from pipeline.records.tables import write_table
from pipeline.reporting.pages import all_pages
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import write_sealed

ROOT = Path(__file__).resolve().parent.parent
STUDIES = {
    "dropout": (["dropout"], [{"dropout": {"rate": 0.1}}, {"dropout": {"rate": 0.5}}]),
    "others": (["weight_decay", "augmentation"], [{"weight_decay": {"strength": 0.01}}]),
}
DETERMINISTIC = {"view": "deterministic", "members": 1}
TWELVE_PASSES = {"view": "noise", "members": 12}
SETTINGS = {
    "data": {"dataset": "digits", "train_size": 37},
    "model": {"name": "resnet", "widths": [4, 8]},
    "training": {"epochs": 6, "batch_size": 10, "learning_rate": 0.05},
}
METRICS = (
    "test_accuracy",
    "validation_accuracy",
    "test_nll",
    "validation_nll",
    "test_brier",
    "test_calibration_error",
)
COSTS = ("training_cost", "test_cost")
GAPS = ("gap", "gap_noise", "gap_augmentation")
RULES = (("deterministic", 1), ("noise", 12))
SCORED = ("accuracy", "nll", "brier", "calibration_error")
LOST = {("dropout", 1001): "failed", ("dropout", 1002): "diverged", ("dropout", 1003): "missing"}
TARGETS = ("updates_to_target", "flops_to_target")  # never reached


def digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:20]


def rows(phase: str) -> Iterator[dict[str, object]]:
    """Return the runs of a phase; the chosen setting is the first."""
    for study, (_, settings) in STUDIES.items():
        tried = (
            settings
            if phase == "exploration" and len(settings) > 1
            else settings[:1] * (phase == "confirmation")
        )
        for arm, setting in [("baseline", {}), *((study, setting) for setting in tried)]:
            for seed in range(2) if phase == "exploration" else range(1000, 1006):
                name = digest(arm, setting, seed)
                yield {
                    "study": study,
                    "arm": arm,
                    "setting": setting,
                    "seed": seed,
                    "fingerprint": name,
                }


def arm(
    name: str, regularizers: list[str], rule: dict[str, object] = DETERMINISTIC
) -> dict[str, object]:
    """Return one arm of a planned study."""
    factor = {"regularizers": regularizers, "protocol": {}}
    return {"name": name, "factor": factor, "against": "baseline", "rule": rule, "train_size": 37}


def write_phase(folder: Path, phase: str) -> None:
    folder.mkdir(parents=True)
    studies = [
        {
            "name": study,
            "question": f"Does {study} | help?",
            "kind": "comparison",
            "arms": [
                arm("baseline", []),
                arm(study, names, TWELVE_PASSES if study == "others" else DETERMINISTIC),
            ],
        }
        for study, (names, _) in STUDIES.items()
    ]
    runs = list(rows(phase))
    plan = {
        "protocol": "tiny",
        "phase": phase,
        "settings": SETTINGS,
        "margin": 0.01,
        "data_digest": "d",
        "studies": studies,
        "runs": runs,
    }
    write_sealed(folder / "plan.json", plan)
    for run in runs:
        write_run(folder / str(run["fingerprint"]), run)


def write_run(folder: Path, run: dict[str, object]) -> None:
    state = LOST.get((str(run["arm"]), int(str(run["seed"]))), "done")
    if state == "missing" or folder.exists():
        return
    folder.mkdir()
    cost = {
        "training_flops": 2_000_000 if run["arm"] == "others" else 1_000_000,
        "updates": 24,
        "forward_flops": 5000,
    }
    record = {
        "state": state,
        "reason": f"why it {state}" * (state != "done"),
        "cost": cost,
        "machine": {},
        "files": {},
    }
    record["audit"] = {} if run["arm"] == "baseline" else {"dropout": {"realised_rate": 0.1234}}
    write_record(folder, record)
    rise = int(str(run["seed"])) % 7 / 100
    curve = [
        {
            "epoch": epoch,
            "updates": 4 * epoch,
            "split": split,
            "loss": 1 / epoch + rise,
            "accuracy": epoch / 8 + rise,
            "learning_rate": 0.1,
        }
        for epoch in (2, 4, 6)
        for split in ("train", "validation")
    ]
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in curve))


def contrast_rows(generator: np.random.Generator) -> Iterator[dict[str, object]]:
    """Return contrasts with arbitrary numbers: the report shows what it is given."""
    for study, (names, settings) in STUDIES.items():
        states = [LOST.get((study, seed), "done") for seed in range(1000, 1006)]
        verdict = {"dropout": "hurts", "others": "inconclusive"}[study]
        counts = {state: states.count(state) for state in ("done", "failed", "diverged", "missing")}
        for metric in (*METRICS, *GAPS, *COSTS):
            primary, exact = metric == "test_accuracy", metric.startswith("gap_")
            baseline, difference = (
                generator.uniform(0.6, 0.9),
                0.0 if exact else generator.uniform(-0.05, 0.05),
            )
            yield {
                **{
                    "study": study,
                    "arm": study,
                    "factor": {"regularizers": names, "protocol": {}},
                    "setting": settings[0],
                    "metric": metric,
                    **(TWELVE_PASSES if study == "others" and primary else DETERMINISTIC),
                },
                **{
                    "n": counts["done"],
                    "baseline_mean": baseline,
                    "arm_mean": baseline + difference,
                    "difference": difference,
                },
                "low": None if exact else difference - 0.0123,
                "high": None if exact else difference + 0.0123,
                "low_90": None if exact else difference - 0.01,
                "high_90": None if exact else difference + 0.01,
                "low_all": None if exact else difference - 0.02,
                "high_all": None if exact else difference + 0.02,
                "low_images": difference - 0.03 if primary else None,
                "high_images": difference + 0.03 if primary else None,
                "excludes_zero": not exact and abs(difference) > 0.0123,
                "p": None if exact else generator.uniform(0, 0.2),
                "p_holm": {"dropout": 0.0000123, "others": 0.2345}[study] if primary else None,
                "verdict": verdict if primary else "",
                "below_margin": False,
                "withheld": False,
                "repeats": False,
                **{
                    "detectable": 0.0345 if primary else None,
                    "detectable_low": 0.0234 if primary else None,
                    "detectable_high": 0.0567 if primary else None,
                    "correlation": None if exact else 0.5,
                    "planned": 6,
                    **counts,
                },
                **{
                    "p_sign_flip": None if exact else 0.0625,
                    "seeds_needed": 321 if primary else None,
                    "seeds_needed_low": 200 if primary else None,
                    "seeds_needed_high": 700 if primary else None,
                },
                **{
                    "seed_error": 0.004 if primary else None,
                    "image_error": 0.007 if primary else None,
                    "total_error": 0.0081 if primary else None,
                    "verdict_other_images": verdict if primary else "",
                },
                **{"unpaired": 6 - counts["done"], "other_machine": 0, "lost_pairs": 0},
                **dict(zip(LOST_RUNS, (0, 6, 0, 0, 6, 0, 6), strict=True)),
            }


def score_rows() -> Iterator[tuple[str, str, int, str, str, float]]:
    done = {
        (str(row["fingerprint"]), int(str(row["seed"])))
        for row in rows("confirmation")
        if (row["arm"], row["seed"]) not in LOST
    }
    for name, seed in sorted(done):
        for (view, members), split, metric in product(RULES, ("validation", "test"), SCORED):
            noise = (view == "noise" and metric == "accuracy") / 10
            yield name, view, members, split, metric, 0.8 + seed % 10 / 100 + noise
        yield name, "deterministic", 1, "train", "accuracy", 0.99 - seed % 10 / 1000
        for metric in (*GAPS, "gap_observed"):
            value = 0.0 if metric in GAPS[1:] else 0.1 + seed % 10 / 200
            yield name, "deterministic", 1, "train_validation", metric, value


@pytest.fixture
def artifacts(compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project folder with all that `report` reads of `tiny`; three runs are lost."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GAPWISE_STORE", str(tmp_path / "store"))
    return Path(shutil.copytree(compared, tmp_path / "artifacts" / "tiny"))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write reports without their figures, for tests that look at none."""
    monkeypatch.setattr(report, "_draw", lambda artifacts, data: {})


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the artifacts, made once for this module: to copy."""
    place = tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("GAPWISE_STORE", str(place / "store"))
        return write_artifacts(place / "artifacts" / "tiny")


def write_artifacts(folder: Path) -> Path:
    """Write what `report` reads to a folder, and return it."""
    for phase in ("exploration", "confirmation"):
        write_phase(folder / phase, phase)
    settings = STUDIES["dropout"][1]
    chosen = settings[0]
    tried = [
        {
            "study": "dropout",
            "arm": name,
            "setting": setting,
            "budget": 1.0,
            "n": 2,
            "chosen": setting == chosen,
            "validation_nll": 0.5,
        }
        | {
            "validation_accuracy": 0.8,
            "validation_accuracy_low": None,
            "validation_accuracy_high": None,
        }
        | {"done": 2, "failed": 0, "diverged": 0, "missing": 0}
        | {"collapsed": False, "scores": [0.79, 0.81], "changes": [], "change": None}
        for name, setting in [("baseline", {}), ("dropout", chosen), ("dropout", settings[1])]
    ]
    search = {
        **{"study": "dropout", "arm": "dropout", "trials": 2, "whole_trials": 2},
        **{"first_trials": 2, "seeds": 2},
        **{"ordered": True, "edge": False, "at_bound": False, "place": "rate=0.1", "widened": 0},
        "exhausted": False,
        **{"gain": None, "gain_low": None, "gain_high": None, "chosen": True},
    }
    content = {"choice": {"dropout": {"dropout": chosen}}, "tuned": {}, "tried": tried}
    write_sealed(folder / "choice.json", {**content, "searches": [search]})
    scores = pd.DataFrame(score_rows(), columns=list(evaluate.COLUMNS["scores"]))
    scores.to_csv(folder / "scores.csv", index=False, float_format="%.10g")
    for name, columns in evaluate.COLUMNS.items():
        if name != "scores":
            pd.DataFrame(columns=list(columns)).to_csv(folder / f"{name}.csv", index=False)
    pd.DataFrame(columns=list(HEAD)).to_csv(folder / "images.csv", index=False)
    use = {
        "phase": "confirmation",
        "runs": 15,
        "fingerprints": [],
        "test_examples": 719,
        "validation_examples": 928,
    }
    write_sealed(folder / "test_use.json", use)
    digits = sources.read("digits", {}).pool
    pool = digits.take(hold_out(digits.labels, 0.4)[0])
    write_prepared(folder / "data", "digits", pool, pool.take(np.arange(719)), False)
    contrasts = pd.DataFrame(contrast_rows(np.random.default_rng(0)))
    write_table(folder / "contrasts.csv", contrasts)
    compare_again(folder)
    return folder


def compare_again(folder: Path) -> None:
    """Make the tables of `compare` of what is there, but keep the contrasts."""
    contrasts = (folder / "contrasts.csv").read_bytes()
    compare.main("tiny")
    (folder / "contrasts.csv").write_bytes(contrasts)


METHODS = {
    "one model": (0.80, 1),
    "independent": (0.85, 2),
    "greedy": (0.86, 3),
}  # accuracy and trainings


def add_averages(folder: Path) -> None:
    """Add a study of ensembles, two groups of two models, and noise passes of `others`.

    One of the models failed and one is missing.
    """
    path = folder / "confirmation" / "plan.json"
    plan = json.loads(path.read_text())
    fixed = {"study": "together", "setting": {}}
    members = [
        fixed
        | {
            "arm": "baseline",
            "seed": seed,
            "member": member,
            "fingerprint": digest("baseline", {}, seed + 100 * member),
        }
        for seed in (1000, 1001)
        for member in (0, 1)
    ]
    members += [
        fixed | {"arm": "snap", "seed": seed, "member": 0, "fingerprint": digest("snap", seed)}
        for seed in (1000, 1001)
    ]
    plan["runs"] += members
    plan["studies"] += [
        {
            "name": "together",
            "question": "Do they | help?",
            "kind": "ensemble",
            "groups": [1000, 1001],
            "size": 2,
            "arms": [arm(name, []) for name in ("baseline", "snap")],
        }
    ]
    write_sealed(path, plan)
    for member in members[:4]:
        write_run(path.parent / member["fingerprint"], member)
    broken = path.parent / members[4]["fingerprint"]
    write_run(broken, members[4])
    record = json.loads((broken / "record.json").read_text())
    write_record(broken, record | {"state": "failed", "reason": "out of | luck"})
    passes = [
        (digest("others", STUDIES["others"][1][0], seed), number, metric, value)
        for seed in range(1000, 1006)
        for number in (1, 2)
        for metric, value in (
            ("accuracy", 0.7 + number / 10 + seed % 10 / 100),
            ("nll", 0.9 - number / 10 - seed % 10 / 100),
        )
    ]
    frames = {"passes": passes, "ensembles": [], "sizes": [], "reliability": []}
    for group in (0, 1):
        for name, (accuracy, count) in METHODS.items():
            shift = accuracy + group * count / 100
            values = {
                "accuracy": shift,
                "nll": 1 - shift,
                "brier": 0.2,
                "calibration_error": 0.05,
                "disagreement": None,
            }
            values |= {
                "calibration_error_scaled": 0.04,
                "training_flops": 10.0 * count,
                "trainings": count,
            }
            values |= {"forward_passes": count}
            values |= (
                {"nll_gain_selecting": 0.06 + group / 100, "nll_gain_held_out": 0.01}
                if name == "greedy"
                else {}
            )
            key = ("together", 1000 + group, name)
            model = "every arm" if name == "greedy" else "baseline"
            frames["ensembles"] += [
                (*key, model, "one model", metric, value) for metric, value in values.items()
            ]
            frames["reliability"] += [
                (*key, 0.0, 0.5, 0, None, None),
                (*key, 0.5, 1.0, 30, 0.9, shift),
            ]
        frames["sizes"] += [
            ("together", 1000 + group, "independent", size, metric, size / 3 + group / 10)
            for size in (1, 2)
            for metric in ("accuracy", "nll")
        ]
    for name, frame in frames.items():
        pd.DataFrame(frame, columns=list(evaluate.COLUMNS[name])).to_csv(
            folder / f"{name}.csv", index=False
        )
    compare_again(folder)


def written(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def pages(artifacts: Path) -> dict[str, str]:
    """Return all pages by name, without their figures."""
    return all_pages(report.read_report_data(artifacts))


def whole(artifacts: Path) -> str:
    """Return the front page and all the others, their links as seen from the front page."""
    front, *behind = pages(artifacts).values()
    return "\n".join([front, *(page.replace("../", "") for page in behind)])


def tables(markdown: str) -> list[list[dict[str, str]]]:
    """Return every table of a page, in order."""
    parsed = []
    for block in re.findall(r"(?:^\|.*\n)+", markdown, flags=re.M):
        head, _, *body = [
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in block.splitlines()
        ]
        parsed.append([dict(zip(head, row, strict=True)) for row in body])
    return parsed


def test_it_writes_what_is_promised_and_nothing_else_twice(artifacts: Path) -> None:
    report.main("tiny")
    linked = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", whole(artifacts))
    assert all(len(described) >= 30 for described, _ in linked)
    figures = {name for _, name in linked}
    assert figures >= {
        f"figures/{name}.png"
        for name in ("forest", "gap", "curves_dropout", "curves_others", "settings")
    }
    made = set(pages(artifacts))
    assert made >= {
        f"pages/{name}.md" for name in ("method", "gap", "cost", "study_dropout", "study_others")
    }
    for name in ("seeds.csv", "contrasts.csv", "claims.csv"):
        assert Path("reports/tiny", name).read_bytes() == (artifacts / name).read_bytes()
    promised = {
        *("metrics.json", "protocol.json", "table.tex", "timing.md"),
        *("seeds.csv", "contrasts.csv", "claims.csv"),
        *(name.replace(".png", ".svg") for name in figures),
        *(f"plots/{name}.csv" for name in ("contrasts", "curves", "strengths")),
    }
    assert set(written(Path("reports"))) == {
        *("README.md", "claims.md"),
        *(f"tiny/{name}" for name in made | figures | promised),
    }
    first = written(Path("reports"))
    Path("reports/tiny/figures/old.png").write_bytes(b"old")
    Path("reports/.tiny.next").mkdir()
    report.main("tiny")
    assert written(Path("reports")) == first


@pytest.mark.usefixtures("undrawn")
def test_every_number_of_the_headline_table_comes_from_the_contrasts(artifacts: Path) -> None:
    report.main("tiny")
    contrasts = pd.read_csv(artifacts / "contrasts.csv", keep_default_na=False)
    contrasts = contrasts.set_index(["arm", "metric"])
    front, verdicts = (
        tables(Path("reports/tiny", page).read_text(encoding="utf-8"))[0]
        for page in ("report.md", "pages/verdicts.md")
    )
    differences = [float(row["difference (points)"]) for row in verdicts]
    assert differences == sorted(differences, reverse=True)
    for row, short in zip(verdicts, front, strict=True):
        change, gap = (
            "{:+.1f}\u00a0[{:+.1f},\u00a0{:+.1f}]".format(
                *(
                    100 * float(contrasts.loc[(row["arm"], metric), name])
                    for name in ("difference", "low", "high")
                )
            )
            for metric in ("test_accuracy", "gap")
        )
        training, test = (
            float(contrasts.loc[(row["arm"], name), "arm_mean"])
            for name in ("training_cost", "test_cost")
        )
        assert short == {
            "arm": row["arm"],
            "verdict": row["verdict"],
            "difference [95 % interval]": change,
            "change of gap": gap,
            "training cost": f"{training:.2f}",
            "test cost": f"{test:.2f}",
            "setting": {"dropout": "rate=0.1", "others": "weight_decay, strength=0.01"}[row["arm"]],
        }
        made = contrasts.loc[(row["arm"], "test_accuracy")]
        assert row == {
            "arm": row["arm"],
            "setting": {"dropout": "rate=0.1", "others": "strength=0.01"}[row["arm"]],
            "test accuracy (%)": f"{100 * float(made['arm_mean']):.1f}",
            "baseline (%)": f"{100 * float(made['baseline_mean']):.1f}",
            "difference (points)": f"{100 * float(made['difference']):+.1f}",
            "95 % interval": "[{:+.1f},\u00a0{:+.1f}]".format(
                *(100 * float(made[name]) for name in ("low", "high"))
            ),
            "interval for other test examples": "[{:+.1f},\u00a0{:+.1f}]".format(
                *(100 * float(made[name]) for name in ("low_images", "high_images"))
            ),
            "n": str(made["n"]),
            "p (Holm)": "<\u00a00.001"
            if float(made["p_holm"]) < 0.001
            else f"{float(made['p_holm']):.3f}",
            "verdict": made["verdict"],
            "change of gap": "{:+.1f}\u00a0[{:+.1f},\u00a0{:+.1f}]".format(
                *(
                    100 * float(contrasts.loc[(row["arm"], "gap"), name])
                    for name in ("difference", "low", "high")
                )
            ),
            "gap (points)": f"{100 * float(contrasts.loc[(row['arm'], 'gap'), 'arm_mean']):.1f}",
            "runs: planned/done/failed/diverged/missing": {"dropout": "6/3/1/1/1", "others": "–"}[
                row["arm"]
            ],
        }


def test_no_number_of_the_headline_sentence_is_typed(artifacts: Path) -> None:
    sentence = whole(artifacts).split("\n\n")[1].replace("1-nearest neighbour", "")
    primary = pd.read_csv(artifacts / "contrasts.csv").query("metric == 'test_accuracy'")
    scores = pd.read_csv(artifacts / "scores.csv", dtype={"fingerprint": str})
    baseline = scores[
        scores["fingerprint"].isin([digest("baseline", {}, seed) for seed in range(1000, 1006)])
    ]
    accuracy = baseline.query(
        "view == 'deterministic' and metric == 'accuracy' and split == 'test'"
    )["value"].mean()
    gap = baseline.query("metric == 'gap'")["value"].mean()
    numbers = {
        f"{100 * value:+.1f}"
        for name in ("difference", "low_all", "high_all")
        for value in primary[name]
    }
    ranges = primary[["detectable", "detectable_low", "detectable_high"]].to_numpy().ravel()
    numbers |= {f"{100 * value:.1f}" for value in (*ranges, accuracy, gap)} | {
        "2",
        "3",
        "6",
        "95",
        "80",
    }
    rates = pd.read_csv(artifacts / "collapses.csv")
    counts = [*rates[["runs", "diverged"]].to_numpy().ravel()]
    counts += [*(100 * rates[["rate", "low", "high"]].to_numpy().ravel())]
    numbers |= {f"{value:.0f}" for value in counts}
    assert set(re.findall(r"[+-]?\d+(?:\.\d+)?", sentence)) <= numbers
    assert "Limits: up to 6 fresh seeds; 6 epochs (" in sentence


def test_another_protocol_gives_another_text(artifacts: Path) -> None:
    before = whole(artifacts)
    assert "37 training examples" in before
    assert "719 examples" in before
    for path in artifacts.glob("*/plan.json"):
        text = (
            path.read_text()
            .replace('"train_size": 37', '"train_size": 41')
            .replace('"margin": 0.01', '"margin": 0.02')
        )
        write_sealed(path, json.loads(text))
    use = artifacts / "test_use.json"
    write_sealed(use, json.loads(use.read_text()) | {"test_examples": 720, "runs": 14})
    after = whole(artifacts)
    for words in (
        "41 training examples",
        "720 examples",
        "for a margin of 2 points",
        "14 runs of the confirmation phase",
    ):
        assert words in after
        assert words not in before


def test_notes_on_the_data_are_told_where_there_are_some(artifacts: Path) -> None:
    assert "**Notes on the data**" not in whole(artifacts)
    path = artifacts / "data" / "data.json"
    write_sealed(
        path,
        json.loads(path.read_text()) | {"notes": ["3 of 719 | test images", "test: channel 0"]},
    )
    protocol = pages(artifacts)["pages/method.md"].split("\n## ")[2]
    assert protocol.startswith("Protocol")
    assert "\n- **Notes on the data**: 3 of 719 \\| test images; test: channel 0.\n" in protocol


def test_what_the_validation_set_resolves_is_on_the_page_of_the_method(artifacts: Path) -> None:
    page = pages(artifacts)["pages/method.md"]
    # 1.96 sqrt(0.02 / 928) and 1.96 sqrt(0.1 / 928)
    (line,) = [line for line in page.splitlines() if line.startswith("- **Validation set**")]
    numbers = re.findall(r"\d[\d.]*(?<!\.)", line)
    assert numbers == ["928", "2", "0.9", "95", "10", "2.0", "2", "1.04", "1.41", "86"]


@pytest.mark.usefixtures("undrawn")
def test_lost_runs_are_counted_and_named(artifacts: Path) -> None:
    report.main("tiny")
    text = whole(artifacts)
    assert (3, 24, {"failed": 1, "diverged": 1, "missing": 1}) in lost_runs(text)
    assert "seed 1001: failed: why it failed" in text
    assert "seed 1002: diverged: why it diverged" in text
    assert "seed 1003: missing" in text
    runs = json.loads(Path("reports/tiny/metrics.json").read_text())["runs"]
    assert runs == {"planned": 24, "done": 21}
    cells = [
        row["runs: planned/done/failed/diverged/missing"]
        for table in tables(text)
        for row in table
        if row.get("phase") == "confirmation"
    ]
    assert cells == ["6/3/1/1/1"]  # of the arm whose runs are not all done


def test_a_report_is_possible_when_every_run_is_lost(artifacts: Path) -> None:
    for record in artifacts.glob("*/*/record.json"):
        record.unlink()
    scores = pd.read_csv(artifacts / "scores.csv", dtype=str)
    scores.iloc[:0].to_csv(artifacts / "scores.csv", index=False)
    table = pd.read_csv(artifacts / "contrasts.csv")
    table[
        [
            "baseline_mean",
            "arm_mean",
            "difference",
            "low",
            "high",
            "low_all",
            "high_all",
            "p",
            "p_holm",
            "detectable",
            "correlation",
        ]
    ] = np.nan
    table.loc[table["metric"] == "test_accuracy", "verdict"] = "inconclusive"
    table.assign(n=0, done=0, excludes_zero=False).to_csv(artifacts / "contrasts.csv", index=False)
    compare_again(artifacts)
    report.main("tiny")
    assert (24, 24, {"missing": 24}) in lost_runs(whole(artifacts))
    assert json.loads(Path("reports/tiny/metrics.json").read_text()) == {
        "baseline": dict.fromkeys(("accuracy", "gap", *TARGETS)),
        "points": {"dropout": None, "others": None},
        "runs": {"planned": 24, "done": 0},
        "failed_checks": 3,  # no tuning, no baseline above a classifier, too few seeds
    }


@pytest.mark.usefixtures("undrawn")
def test_metrics_and_plots_hold_the_numbers_of_the_report(artifacts: Path) -> None:
    report.main("tiny")
    metrics = json.loads(Path("reports/tiny/metrics.json").read_text())
    contrasts = pd.read_csv(artifacts / "contrasts.csv").set_index(["arm", "metric"])
    differences = contrasts.xs("test_accuracy", level="metric")["difference"]
    assert metrics["points"] == {arm: round(100 * value, 4) for arm, value in differences.items()}
    assert metrics["baseline"] == {
        "accuracy": 82.5,
        "gap": 11.25,
        **dict.fromkeys(TARGETS),
    }  # the seeds add 0 to 5 hundredths, and halves of these
    curves = pd.read_csv("reports/tiny/plots/curves.csv")
    one = curves.query(
        "study == 'dropout' and arm == 'dropout' and split == 'train' and epoch == 4"
    ).iloc[0]
    values = 0.5 + np.array([seed % 7 / 100 for seed in (1000, 1004, 1005)])
    half = (
        4.302652729911275 * values.std(ddof=1) / np.sqrt(3)
    )  # the 97.5 % point of Student's t with 2 degrees of freedom
    assert one["n"] == 3
    assert [one["accuracy"], one["accuracy_low"], one["accuracy_high"]] == pytest.approx(
        [values.mean(), values.mean() - half, values.mean() + half]
    )
    strengths = pd.read_csv("reports/tiny/plots/strengths.csv", keep_default_na=False)
    assert list(strengths["chosen"]) == [False, True, False]
    assert list(strengths["strength"]) == ["", "rate=0.1", "rate=0.5"]
    shown = pd.read_csv("reports/tiny/plots/contrasts.csv").set_index("arm")
    cells = shown[["strength", "view", "members"]].T.to_dict("list")
    assert cells == {
        "dropout": ["rate=0.1", "deterministic", 1],
        "others": ["strength=0.01", "noise", 12],
    }


@pytest.mark.usefixtures("undrawn")
def test_an_arm_of_two_studies_is_one_column_where_it_is_the_same_runs_and_two_where_it_is_not(
    artifacts: Path,
) -> None:
    for path in artifacts.glob("*/plan.json"):
        plan = json.loads(path.read_text())
        mine = [run for run in plan["runs"] if run["study"] == "dropout"]
        plan["studies"].append(plan["studies"][0] | {"name": "again"})
        plan["runs"] += [run | {"study": "again"} for run in mine]
        write_sealed(path, plan)
    contrasts = pd.read_csv(artifacts / "contrasts.csv")
    mine = contrasts[contrasts["study"] == "dropout"].assign(study="again")
    pd.concat([contrasts, mine]).to_csv(artifacts / "contrasts.csv", index=False)
    report.main("tiny")
    assert set(json.loads(Path("reports/tiny/metrics.json").read_text())["points"]) == {
        "dropout",
        "others",
    }
    assert pd.read_csv("reports/tiny/plots/contrasts.csv")["arm"].is_unique
    curves = pd.read_csv("reports/tiny/plots/curves.csv")
    assert not curves.duplicated(["arm", "split", "epoch"]).any()
    path = artifacts / "confirmation" / "plan.json"
    plan = json.loads(path.read_text())
    mine = [run for run in plan["runs"] if (run["study"], run["arm"]) == ("again", "dropout")]
    for run, name in zip(mine, [run["fingerprint"] for run in reversed(mine)], strict=True):
        run["fingerprint"] = name
    write_sealed(path, plan)
    report.main("tiny")
    points = json.loads(Path("reports/tiny/metrics.json").read_text())["points"]
    assert set(points) == {"dropout of dropout", "dropout of again", "others"}


@pytest.mark.usefixtures("undrawn")
def test_templates_draw_columns_that_the_plots_have(artifacts: Path) -> None:
    report.main("tiny")
    plots = {
        path.stem: set(pd.read_csv(path).columns)
        for path in Path("reports/tiny/plots").glob("*.csv")
    }
    stage = read_yaml(ROOT / "dvc.yaml")["stages"]["report"]
    stated = {
        Path(name).stem: settings for item in stage["plots"] for name, settings in item.items()
    }
    assert stated.keys() == plots.keys()
    for name, settings in stated.items():
        drawn = (ROOT / ".dvc" / "plots" / f"{settings['template']}.json").read_text()
        for axis in "xy":
            drawn = drawn.replace(f"<DVC_METRIC_{axis.upper()}>", settings[axis])
        fields = re.findall(r'"field": "(\w+)"', drawn) + re.findall(r"datum\.(\w+)", drawn)
        assert set(fields) <= plots[name] | {"rev", "tried", "value"}, name


@pytest.mark.usefixtures("undrawn")
def test_timing_stands_apart_and_is_void_where_no_clock_is_known(artifacts: Path) -> None:
    report.main("tiny")
    page = written(Path("reports/tiny"))["report.md"]
    assert [
        row["median seconds of training"]
        for row in tables(Path("reports/tiny/timing.md").read_text())[0]
    ] == ["–"] * 3
    seconds = {"baseline": [2.0, 4.0, 3.0], "others": [None, 6.0]}
    settings = {"baseline": {}, "others": STUDIES["others"][1][0]}
    for name, clocks in seconds.items():
        for seed, clock in enumerate(clocks, 1000):
            folder = Path("store") / digest(name, settings[name], seed)
            folder.mkdir(parents=True)
            (folder / "timing.json").write_text(json.dumps({"seconds": clock}))
    report.main("tiny")
    timing = pd.read_csv(artifacts / "timing.csv").set_index("arm")
    assert timing.loc["others", ["n", "median_seconds", "ratio"]].tolist() == [1, 6.0, 2.0]
    assert timing.loc["dropout", "median_seconds":"ratio"].isna().all()
    assert set(timing["source"]) == {"measured here"}
    assert written(Path("reports/tiny"))["report.md"] == page


INPUTS = (
    "confirmation/plan.json",
    "choice.json",
    "test_use.json",
    "data/data.json",
    *(f"{name}.csv" for name in report.TABLES),
)


@pytest.mark.parametrize("name", INPUTS)
def test_a_missing_input_is_one_clear_line_and_keeps_the_last_report(
    artifacts: Path, name: str
) -> None:
    Path("reports/tiny").mkdir(parents=True)
    Path("reports/tiny/report.md").write_text("earlier")
    (artifacts / name).unlink()
    with pytest.raises(Refusal, match=re.escape(f"artifacts/tiny/{name}: ")):
        report.main("tiny")
    assert written(Path("reports")) == {"tiny/report.md": b"earlier"}


def test_an_arm_may_be_called_nan(artifacts: Path) -> None:
    for path in artifacts.glob("*/plan.json"):
        write_sealed(path, json.loads(path.read_text().replace("others", "nan")))
    for name in ("contrasts.csv", "trust.csv", "efficiency.csv"):
        table = artifacts / name
        table.write_text(table.read_text().replace("others", "nan"))
    report.main("tiny")
    page = Path("reports/tiny/pages/verdicts.md").read_text(encoding="utf-8")
    assert [row["arm"] for row in tables(page)[0]].count("nan") == 1


def test_averages_are_told_with_numbers_of_their_tables(artifacts: Path) -> None:
    add_averages(artifacts)
    report.main("tiny")
    page = whole(artifacts)
    by_first_row = {tuple(table[0]): table for table in tables(page)}
    passes = next(table for head, table in by_first_row.items() if "deterministic" in head)
    assert [row["1 pass"] for row in passes] == ["82.5", "0.775"]  # the seeds add 0 to 5 hundredths
    # 0.9 less 0.8 at every seed, 0.675 less 0.825
    assert [row["difference"] for row in passes] == ["+10.0", "-0.150"]
    assert {row["n"] for row in passes} == {"6"}
    costs = next(table for head, table in by_first_row.items() if "method" in head)
    assert [(row["method"], row["training cost"], row["accuracy (%)"]) for row in costs] == [
        ("**one model**", "1.00", "80.5"),
        ("**independent**", "2.00", "86.0"),
        ("**greedy**", "3.00", "87.5"),
    ]
    assert (
        costs[1]["difference (points)"] == "+5.5\u00a0[-0.9,\u00a0+11.9]"
    )  # 5 and 6: half is 12.706 * 0.7071 / sqrt(2)
    assert "- **together**: Do they \\| help?" in page
    assert "+0.065 nats [+0.001, +0.129] on this half and +0.010 nats on the other" in page
    linked = set(re.findall(r"\(figures/([^)]+)\)", page))
    assert {
        "passes_others.png",
        "ensemble_sizes_together.png",
        "reliability_together.png",
    } <= linked
    drawn = {path.name for path in Path("reports/tiny/figures").iterdir()}
    assert {name for name in drawn if name.endswith(".png")} == linked
    assert drawn - linked == {f"{Path(name).stem}.svg" for name in linked}
    first = written(Path("reports"))
    report.main("tiny")
    assert written(Path("reports")) == first


@pytest.mark.usefixtures("undrawn")
def test_lost_models_of_groups_are_counted_and_named(artifacts: Path) -> None:
    add_averages(artifacts)
    report.main("tiny")
    page = whole(artifacts)
    of_report = (5, 28, {"failed": 2, "diverged": 1, "missing": 2})
    assert of_report in lost_runs(page)  # a member 0 is a confirmation run
    assert (2, 6, {"failed": 1, "missing": 1}) in lost_runs(page)
    assert "- confirmation, snap, seed 1000, model 0: failed: out of \\| luck" in page
    assert "- confirmation, snap, seed 1001, model 0: missing" in page
    assert json.loads(Path("reports/tiny/metrics.json").read_text())["runs"]["planned"] == 28
    cells = [
        row["runs: planned/done/failed/diverged/missing"]
        for table in tables(page)
        for row in table
        if row.get("arm") == "snap"
    ]
    assert cells == ["2/0/1/0/1"]


def test_a_study_without_a_complete_group_says_so(artifacts: Path) -> None:
    add_averages(artifacts)
    for name in ("ensembles", "sizes", "reliability"):
        pd.read_csv(artifacts / f"{name}.csv").iloc[:0].to_csv(
            artifacts / f"{name}.csv", index=False
        )
    compare_again(artifacts)
    report.main("tiny")
    page = whole(artifacts)
    assert "**No group has all its baseline models done" in page
    assert "# Study: together" in page
    assert not list(Path("reports/tiny/figures").glob("*together*"))
