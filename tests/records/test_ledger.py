"""The ledger of openings: what counts as another plan, and which edits break the chain."""

import hashlib
import itertools
import json

import pytest
from report_data import planned

from pipeline.config.claims import Claim, claims_digest
from pipeline.config.plan import PlannedLooks, PlannedRun, PlannedStudy, Stop
from pipeline.config.test_rules import NOISE
from pipeline.records.ledger import (
    LEDGER,
    append_opening,
    changes,
    opened_plan,
    parse_ledger,
    read_ledger,
)
from pipeline.runtime.errors import Refusal

PLAN = planned(
    "confirmation", {"one": {"dropout": "deterministic", "mixup": "noise_12"}, "two": {}}
)
PLAN = PLAN.model_copy(
    update={
        "runs": tuple(
            run.model_copy(update={"setting": {"dropout": {"rate": 0.1}}})
            if run.arm == "dropout"
            else run
            for run in PLAN.runs
        )
    }
)
CODE = {"evaluation": "e", "comparison": "c"}
IDENTITY = {"code": {"training": "t"}, "versions": {"torch": "2.13.0"}}


def opened(plan=PLAN, identity=IDENTITY, code=CODE):
    return opened_plan(plan, dict.fromkeys(plan.trained(), identity), "test_accuracy", code)


def without(kept):
    """Return the plan with the runs that a function keeps."""
    return PLAN.model_copy(update={"runs": tuple(filter(kept, PLAN.runs))})


def with_arms(change):
    """Return the plan with the arms of the first study changed."""
    first, *others = PLAN.studies
    changed = first.model_copy(update={"arms": tuple(change(first.arms))})
    return PLAN.model_copy(update={"studies": (changed, *others)})


def with_rate(rate):
    runs = [
        run.model_copy(
            update={"setting": {"dropout": {"rate": rate}}, "fingerprint": f"x{run.seed}"}
        )
        if run.arm == "dropout"
        else run
        for run in PLAN.runs
    ]
    return PLAN.model_copy(update={"runs": tuple(runs)})


def with_claim():
    contrast = {"arm": "dropout"}
    claim = Claim(id="c", source="s", by="both", says="It is.", contrast=contrast, expect="lower")
    first, *others = PLAN.studies
    changed = PlannedStudy(**{**first.model_dump(), "claims": (claim,)})
    return PLAN.model_copy(update={"studies": (changed, *others), "claims": claims_digest([claim])})


def dropped_arm():
    plan = with_arms(lambda arms: [arm for arm in arms if arm.name != "mixup"])
    return plan.model_copy(update={"runs": tuple(run for run in plan.runs if run.arm != "mixup")})


OTHERS = {
    "seeds dropped: 1002": opened(without(lambda run: run.seed != 1002)),
    "seeds dropped: 1 of dropout": opened(
        without(lambda run: (run.arm, run.seed) != ("dropout", 1002))
    ),
    "arms dropped: mixup": opened(dropped_arm()),
    "settings: dropout rate=0.1 -> rate=0.5": opened(with_rate(0.5)),
    "margin: 0.01 -> 0.05": opened(PLAN.model_copy(update={"margin": 0.05})),
    "data": opened(PLAN.model_copy(update={"data_digest": "other"})),
    "claims": opened(with_claim()),
    "metric of the verdicts: test_accuracy -> test_nll": {**opened(), "metric": "test_nll"},
    "training.epochs: 2 -> 3": opened(
        PLAN.model_copy(
            update={
                "settings": {
                    **PLAN.settings,
                    "training": {**PLAN.settings["training"], "epochs": 3},
                }
            }
        )
    ),
    "test rule: dropout": opened(
        with_arms(
            lambda arms: [
                arm.model_copy(update={"rule": NOISE}) if arm.name == "dropout" else arm
                for arm in arms
            ]
        )
    ),
    "code: training": opened(identity={**IDENTITY, "code": {"training": "other"}}),
    "code: comparison": opened(code={**CODE, "comparison": "other"}),
    "libraries: torch 2.13.0 -> 2.14.0": opened(
        identity={**IDENTITY, "versions": {"torch": "2.14.0"}}
    ),
    "weights from files": opened(identity={**IDENTITY, "weights": "w"}),
    "runs of arms: baseline of one": opened(
        PLAN.model_copy(
            update={
                "runs": (
                    *PLAN.runs,
                    PlannedRun(study="one", arm="baseline", seed=1000, member=1, fingerprint="m"),
                )
            }
        )
    ),
}


@pytest.mark.parametrize("change", OTHERS)
def test_what_changed_is_named_and_an_opening_of_its_own(tmp_path, change):
    other = OTHERS[change]
    assert list(map(str, changes(opened(), other))) == [change]
    path = tmp_path / LEDGER
    assert append_opening(path, opened())
    assert append_opening(path, other)
    assert len(read_ledger(path)) == 2


def test_what_was_added_is_named_the_other_way_round():
    back = [str(change) for key in OTHERS for change in changes(OTHERS[key], opened())]
    assert "seeds added: 1002" in back
    assert "arms added: mixup" in back
    assert "margin: 0.05 -> 0.01" in back


def test_a_dropped_study_is_named_by_its_arms_and_changes_no_code():
    """Those that overtuning compares follow from the others."""
    studies = {"one": {"dropout": "deterministic"}, "two": {"mixup": "deterministic"}}
    both = planned("confirmation", {**studies, "overtuning": {"dropout, default": "deterministic"}})
    other = {**IDENTITY, "code": {"training": "t", "schedule": "other"}}
    changed = {**IDENTITY, "code": {"training": "t", "schedule": "own"}}
    identities = {run.fingerprint: other if run.arm == "mixup" else changed for run in both.runs}
    before = opened_plan(both, identities, "test_accuracy", CODE)
    after = opened(planned("confirmation", {"one": studies["one"]}), changed)
    assert list(map(str, changes(before, after))) == ["arms dropped: mixup"]
    assert list(map(str, changes(after, before))) == ["arms added: mixup"]


def test_an_equal_plan_is_no_opening_whatever_the_machine_names_and_order(tmp_path):
    path = tmp_path / "reports" / "tiny" / LEDGER
    assert append_opening(path, opened())
    content = path.read_bytes()
    renamed = [run.model_copy(update={"fingerprint": f"{run.fingerprint}x"}) for run in PLAN.runs]
    shuffled = PLAN.model_copy(
        update={
            "runs": tuple(renamed[::-1]),
            "studies": PLAN.studies[::-1],
            "overridden": ("margin",),
        }
    )
    machine = {**IDENTITY, "machine": {"cpu_capability": "AVX2"}}
    assert not append_opening(path, opened(shuffled, machine))
    assert not append_opening(path, opened())
    assert path.read_bytes() == content
    assert append_opening(path, OTHERS["margin: 0.01 -> 0.05"])
    assert append_opening(path, opened())  # back: the last entry is the plan of the report
    assert path.read_bytes().startswith(content)
    assert len(read_ledger(path)) == 3


def test_a_failed_run_that_is_done_later_is_named_as_such():
    some = opened_plan(PLAN, {}, "test_accuracy", CODE)
    assert list(map(str, changes(some, opened()))) == ["libraries: torch none -> 2.13.0"]
    more = opened(identity={**IDENTITY, "code": {"training": "t", "mixup": "m"}})
    assert list(map(str, changes(opened(), more))) == ["which runs are done"]


def with_looks(seeds=(6, 12, 24), **stops):
    """Return an opened plan with looks; the arms stopped at a look for a reason."""
    stopped = tuple(
        Stop(study="one", arm=arm, look=look, reason=reason)
        for arm, (look, reason) in stops.items()
    )
    weights = (1 / len(seeds),) * len(seeds)
    looks = PlannedLooks(seeds=seeds, weights=weights, stops=stopped)
    return opened(PLAN.model_copy(update={"looks": looks}))


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        (opened(), with_looks(), "looks: none -> 6, 12, 24 seeds (weights 0.333, 0.333, 0.333)"),
        (
            with_looks((6, 12)),
            with_looks((6, 24)),
            "looks: 6, 12 seeds (weights 0.5, 0.5) -> 6, 24 seeds (weights 0.5, 0.5)",
        ),
        (
            with_looks(dropout=(1, "futile"), mixup=(2, "futile")),
            with_looks(dropout=(2, "asked"), mixup=(2, "futile")),
            "further looks by gapwise resolve: dropout to 12 seeds",
        ),
        (
            with_looks(dropout=(2, "asked")),
            with_looks(dropout=(3, "asked")),
            "further looks by gapwise resolve: dropout to 24 seeds",
        ),
        (
            with_looks(dropout=(1, "futile")),
            with_looks(dropout=(2, "equivalent")),
            "looks at which arms stopped: dropout",
        ),
    ],
)
def test_changes_of_looks_are_named_in_words(before, after, change):
    assert list(map(str, changes(before, after))) == [change]


def test_a_resolve_is_named_beside_what_validation_scores_stopped():
    before = with_looks(dropout=(1, "futile"), mixup=(1, "futile"))
    after = with_looks(dropout=(2, "asked"), mixup=(2, "last"))
    assert list(map(str, changes(before, after))) == [
        "further looks by gapwise resolve: dropout to 12 seeds",
        "looks at which arms stopped: mixup",
    ]


@pytest.fixture
def lines(tmp_path):
    """Return the lines of a ledger with four entries."""
    path = tmp_path / LEDGER
    for plan in (opened(), *itertools.islice(OTHERS.values(), 3)):
        append_opening(path, plan)
    return path.read_bytes().splitlines(keepends=True)


def test_the_chain_is_that_of_the_lines(lines):
    hashes = [hashlib.sha256(line.rstrip(b"\n")).hexdigest() for line in lines]
    assert [json.loads(line)["before"] for line in lines] == ["", *hashes[:-1]]
    plan = json.loads(lines[2])["plan"]
    text = json.dumps(plan, sort_keys=True, separators=(",", ":"))
    assert json.loads(lines[2])["digest"] == hashlib.sha256(text.encode()).hexdigest()


def repeated(line):
    """Return an entry with the plan of a line, chained to it."""
    entry = {**json.loads(line), "before": hashlib.sha256(line.rstrip(b"\n")).hexdigest()}
    return json.dumps(entry, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def edited(line):
    return line.replace(b'"margin":0.01', b'"margin":0.02')


def resealed(line):
    """Return a line with another margin and the digest of that plan."""
    entry = json.loads(edited(line))
    text = json.dumps(entry["plan"], sort_keys=True, separators=(",", ":"))
    entry["digest"] = hashlib.sha256(text.encode()).hexdigest()
    return json.dumps(entry, sort_keys=True, separators=(",", ":")).encode() + b"\n"


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (lambda one, two, three, four: [one, edited(two), three, four], 2),
        (lambda one, two, three, four: [one, resealed(two), three, four], 3),
        (lambda one, two, three, four: [resealed(one), two, three, four], 2),
        (lambda one, two, three, four: [one, three, four], 2),
        (lambda one, two, three, four: [two, three, four], 1),
        (lambda one, two, three, four: [one, three, two, four], 2),
        (lambda one, two, three, four: [one, two, two, three, four], 3),
        (lambda one, two, three, four: [one, two, three, four, repeated(four)], 5),
        (lambda one, two, three, four: [one, two, three, four[:-9]], 4),
        (lambda one, two, three, four: [one, two, b"\n", three, four], 3),
        (lambda one, two, three, four: [one, two, three, four.replace(b",", b", ", 1)], 4),
        (lambda one, two, three, four: [one, two, three, b"[]\n"], 4),
    ],
)
def test_an_edited_removed_moved_or_repeated_entry_breaks_the_chain(tmp_path, lines, edit, line):
    content = b"".join(edit(*lines))
    with pytest.raises(Refusal, match=f"line {line}: .*git checkout") as refused:
        parse_ledger(content, "reports/tiny/ledger.jsonl")
    assert len(refused.value.lines) == 1
    path = tmp_path / LEDGER
    path.write_bytes(content)
    with pytest.raises(Refusal):
        append_opening(path, opened())
    assert path.read_bytes() == content


def test_without_a_ledger_nothing_was_opened(tmp_path):
    assert read_ledger(tmp_path / LEDGER) == ()
