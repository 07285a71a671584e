"""Keep the ledger of a report: an entry for each plan under which its test set was opened.

An entry is a line of JSON with sorted keys. It holds the SHA-256 of the line before it, so that an
entry that is changed, removed or moved no longer fits the next one. It is appended before any score
of its plan exists. Nothing in it depends on the machine or the time.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.labels import format_setting, format_value
from pipeline.config.plan import BASELINE, OVERTUNING, Plan, PlannedRun, Reason, Setting
from pipeline.records.runs import read_file
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import write_bytes, write_text

LEDGER = "ledger.jsonl"
BEFORE, DIGEST, PLAN = "before", "digest", "plan"  # the keys of an entry
FIRST = ""  # stands for the SHA-256 before the first entry
LENGTH = 16  # hexadecimal digits of the digest of a part
NOT_PLANNED = {"protocol", "phase", "overridden", "studies", "runs", "starts"}  # or kept in parts
ARROW = " -> "
CODE, LIBRARIES, DONE = "code", "libraries", "which runs are done"  # kinds of changes
DIGESTS = ("claims", "data_digest", "starts", "weights")  # values that nobody reads
LONGEST = 60  # characters of a value before and after
MOST = 5  # names that a change lists
PARTS = {  # digest of an arm or study -> what has changed if it has
    "rule": "test rule",
    "against": "reference",
    "definition": "definitions of arms",
    "runs": "runs of arms",
}
NAMES = {  # keys of a plan that are no settings of a user -> what they are
    "data_digest": "data",
    "metric": "metric of the verdicts",
    "optimal_error": "optimal error",
    "starts": "runs that others start from",
    "weights": "weights from files",
}
RESOLVED = "further looks by gapwise resolve"
STOPPED = "looks at which arms stopped"
ASKED: Reason = "asked"  # why an arm stopped that `gapwise resolve` gave a further look

Planned = Mapping[str, Any]
Identities = Mapping[str, Mapping[str, Any]]  # fingerprint -> what the run was trained from


@dataclass(frozen=True)
class Change:
    """What differs between two plans.

    Attributes:
        kind: What has changed, such as "margin" or "seeds dropped".
        detail: The values or names.
    """

    kind: str
    detail: str

    def __str__(self) -> str:
        """Return both on one line."""
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


def run_identities(folder: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return what the runs in a phase's folder were trained from; failed runs have nothing.

    Args:
        folder: The folder of the phase.
        names: Fingerprints.

    Raises:
        Refusal: A run is damaged.
    """
    contents = {name: read_file(folder / name, "run.json") for name in names}
    return {name: json.loads(content) for name, content in contents.items() if content}


def opened_plan(
    plan: Plan, identities: Identities, metric: str, code: Mapping[str, str]
) -> Planned:
    """Return what an entry says of a plan: values, and digests of what is long.

    Args:
        plan: The confirmation plan.
        identities: Those of its runs.
        metric: The metric of the verdicts.
        code: The digests of the code that scores and judges, by its name.

    Returns:
        Plain values. Names of runs are left out: code and library versions are given once.
    """
    studies = {
        study.name: {"definition": _part(study.model_dump(mode="json", exclude={"arms", "claims"}))}
        for study in plan.studies
    }
    arms: dict[str, dict[str, Any]] = {name: {} for name in studies}
    for study_name, arm in plan.arms():
        rows = [run for run in plan.runs if (run.study, run.arm) == (study_name, arm.name)]
        given = arm.model_dump(mode="json")
        arms[study_name][arm.name] = {
            "setting": _only_setting(rows),
            "seeds": sorted({run.seed for run in rows}),
            "rule": given.pop("rule"),
            "against": given.pop("against"),
            "definition": _part(given),
            "runs": _part(sorted(map(_row, rows))),
        }
    starts = [start.model_dump(mode="json") for start in plan.starts]
    unnamed = sorted(_canonical({**start, "fingerprint": "", "start": ""}) for start in starts)
    return {
        **plan.model_dump(mode="json", exclude=NOT_PLANNED),
        "metric": metric,
        "studies": studies,
        "arms": arms,
        "starts": _part(unnamed),
        "code": {**_code(identities), **{name: [digest] for name, digest in code.items()}},
        "versions": _versions(identities),
        "weights": sorted({one["weights"] for one in identities.values() if "weights" in one}),
    }


def _only_setting(rows: Sequence[PlannedRun]) -> Setting | None:
    """Return the setting of an arm; None where it has none, or a design, which `runs` digests."""
    settings = [run.setting for run in rows]
    return settings[0] if settings and all(one == settings[0] for one in settings) else None


def read_ledger(path: Path) -> tuple[Planned, ...]:
    """Return the plan of every entry, the first opening first; none where there is no ledger.

    Raises:
        Refusal: An entry is damaged or does not follow from the one before it.
    """
    return parse_ledger(path.read_bytes(), str(path)) if path.exists() else ()


def parse_ledger(content: bytes, place: str) -> tuple[Planned, ...]:
    """Return the plan of every entry of a ledger with this content.

    Args:
        content: All lines, each with its end.
        place: Where it is from, for errors.

    Raises:
        Refusal: An entry is damaged or does not follow from the one before it.
    """
    cure = f"an entry was changed, moved or removed; run: git checkout {place}"
    lines = content.split(b"\n")
    if lines.pop():
        raise Refusal(f"{place}: line {len(lines) + 1}: incomplete; {cure}")
    plans: list[Planned] = []
    before = FIRST
    for number, line in enumerate(lines, start=1):
        entry = _entry(line)
        if entry is None:
            raise Refusal(f"{place}: line {number}: damaged; {cure}")
        if entry[BEFORE] != before:
            raise Refusal(f"{place}: line {number}: does not follow from the line before; {cure}")
        if plans and entry[PLAN] == plans[-1]:
            raise Refusal(f"{place}: line {number}: repeats the plan of the line before; {cure}")
        plans.append(entry[PLAN])
        before = _sha256(line)
    return tuple(plans)


def continue_ledger(path: Path, earlier: Path) -> None:
    """Go on with the ledger of an earlier report of the same studies alone, if there is one.

    Args:
        path: The ledger of the protocol in the copy of the project in which they run.
        earlier: The ledger of that report there.

    Raises:
        Refusal: The earlier ledger is damaged.
    """
    if read_ledger(earlier):
        write_bytes(path, earlier.read_bytes())


def append_opening(path: Path, planned: Planned) -> bool:
    """Append an entry, unless the last one has an equal plan.

    Args:
        path: The file of the ledger.
        planned: The plan under which the test set is opened.

    Returns:
        Whether it was appended.

    Raises:
        Refusal: The ledger is damaged.
    """
    content = path.read_bytes() if path.exists() else b""
    entries = parse_ledger(content, str(path))
    if entries and _canonical(entries[-1]) == _canonical(planned):
        return False
    before = _sha256(content.splitlines()[-1]) if entries else FIRST
    entry = {BEFORE: before, DIGEST: _sha256(_canonical(planned).encode()), PLAN: planned}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, f"{content.decode()}{_canonical(entry)}\n")
    return True


def changes(before: Planned, after: Planned) -> list[Change]:
    """Return what differs between two plans of a ledger, in the order of importance.

    Args:
        before: The plan of an entry.
        after: The plan of the next entry.
    """
    before, after = (json.loads(_canonical(plan)) for plan in (before, after))  # tuples are lists
    changed = [
        *_changed_arms(before["arms"], after["arms"]),
        *_changed_values(before, after),
        *_changed_looks(before.get("looks") or {}, after.get("looks") or {}),
        *_changed_studies(before["studies"], after["studies"]),
        *_changed_code(before, after),
    ]
    if not changed and before != after:
        of_done = ("code", "versions")  # a run that failed has none
        rest = [{key: plan[key] for key in plan if key not in of_done} for plan in (before, after)]
        changed.append(Change(DONE if rest[0] == rest[1] else "other parts of the plan", ""))
    return changed


def _changed_arms(before: Planned, after: Planned) -> Iterator[Change]:
    """Yield which arms were added or dropped, and what changed of the others."""
    names = _names(before, after)
    yield from _listed("arms dropped", _lacking(before, after, names))
    yield from _listed("arms added", _lacking(after, before, names))
    both = [
        (name, before[study][arm], after[study][arm])
        for (study, arm), name in names.items()
        if arm in before.get(study, {}) and arm in after.get(study, {})
    ]
    settings = [
        f"{name} {_setting(one['setting'])}{ARROW}{_setting(other['setting'])}"
        for name, one, other in both
        if one["setting"] != other["setting"]
    ]
    yield from _listed("settings", settings)
    for kind, sides in (("seeds dropped", (0, 1)), ("seeds added", (1, 0))):
        of_arms = {
            name: sorted({*pair[sides[0]]["seeds"]} - {*pair[sides[1]]["seeds"]})
            for name, *pair in both
        }
        yield from _changed_seeds(kind, of_arms)
    for key, kind in PARTS.items():
        yield from _listed(kind, [name for name, one, other in both if _differ(key, one, other)])


def _differ(key: str, one: Planned, other: Planned) -> bool:
    """Return whether a part of an arm changed; runs with settings and seeds are named by these."""
    named = key == "runs" and any(one[part] != other[part] for part in ("setting", "seeds"))
    return bool(one[key] != other[key]) and not named


def _changed_seeds(kind: str, of_arms: Mapping[str, list[int]]) -> Iterator[Change]:
    """Yield the seeds that all arms, or some of them, have lost or got."""
    changed = {name: seeds for name, seeds in of_arms.items() if seeds}
    distinct = {tuple(seeds) for seeds in changed.values()}
    if len(distinct) == 1 and len(changed) == len(of_arms):
        yield Change(kind, _few([str(seed) for seed in next(iter(distinct))]))
    elif changed:
        yield Change(kind, _few([f"{len(seeds)} of {name}" for name, seeds in changed.items()]))


def _changed_values(before: Planned, after: Planned) -> Iterator[Change]:
    """Yield the values of the protocol, and others of the plan as a whole, that changed."""
    parts = {"arms", "studies", "code", "versions", "looks"}
    one, other = (
        _leaves({key: value for key, value in plan.items() if key not in parts})
        for plan in (before, after)
    )
    for key in dict.fromkeys([*one, *other]):
        if one.get(key) != other.get(key):
            name = NAMES.get(key, key.removeprefix("settings.").replace("tuned.", "tuned ", 1))
            shown = f"{_value(one.get(key))}{ARROW}{_value(other.get(key))}"
            is_short = key not in DIGESTS and len(shown) <= LONGEST
            yield Change(name, shown if is_short else "")


def _changed_looks(before: Planned, after: Planned) -> Iterator[Change]:
    """Yield the looks that were declared otherwise, and the arms that stopped at another one.

    Arms that `gapwise resolve` has given a further look are named apart.
    """
    declared = [(look.get("seeds"), look.get("weights")) for look in (before, after)]
    if declared[0] != declared[1]:
        yield Change("looks", ARROW.join(_declared(*one) for one in declared))
    if not (before and after):
        return
    old, new = (
        {(stop["study"], stop["arm"]): (stop["look"], stop["reason"]) for stop in look["stops"]}
        for look in (before, after)
    )
    often = Counter(arm for _, arm in new)
    names = {key: key[1] if often[key[1]] == 1 else f"{key[1]} of {key[0]}" for key in new}
    changed = [key for key in new if key in old and old[key] != new[key]]
    resolved = [key for key in changed if new[key][1] == ASKED]
    seeds = after["seeds"]
    yield from _listed(
        RESOLVED, [f"{names[key]} to {seeds[new[key][0] - 1]} seeds" for key in resolved]
    )
    yield from _listed(STOPPED, [names[key] for key in changed if key not in resolved])


def _declared(seeds: Sequence[int] | None, weights: Sequence[float] | None) -> str:
    """Return looks with their weights, as text."""
    if seeds is None or weights is None:
        return "none"
    shown = ", ".join(f"{weight:.3g}" for weight in weights)
    return f"{', '.join(map(str, seeds))} seeds (weights {shown})"


def _changed_studies(before: Planned, after: Planned) -> Iterator[Change]:
    both = [name for name in before if name in after]
    key = "definition"
    changed = [name for name in both if before[name][key] != after[name][key]]
    yield from _listed("question or groups", changed)


def _changed_code(before: Planned, after: Planned) -> Iterator[Change]:
    """Yield the parts of the code and the libraries that both plans have and that differ."""
    one, other = before["code"], after["code"]
    both = [(name, set(one[name]), set(other[name])) for name in one if name in other]
    # of an arm that was added or dropped alone, it is no change
    yield from _listed(CODE, [name for name, old, new in both if not (old <= new or new <= old)])
    one, other = before["versions"], after["versions"]
    yield from _listed(
        LIBRARIES,
        [
            f"{name} {one.get(name, 'none')}{ARROW}{other.get(name, 'none')}"
            for name in dict.fromkeys([*one, *other])
            if one.get(name) != other.get(name)
        ],
    )


def _listed(kind: str, names: Sequence[str]) -> Iterator[Change]:
    if names:
        yield Change(kind, _few(names))


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more


def _lacking(arms: Planned, others: Planned, names: Mapping[tuple[str, str], str]) -> list[str]:
    """Return the names of the arms that the others lack; the baseline of a whole study is none."""
    return [
        name
        for (study, arm), name in names.items()
        if arm in arms.get(study, {})
        and arm not in others.get(study, {})
        and (arm != BASELINE or study in others)
    ]


def _names(before: Planned, after: Planned) -> dict[tuple[str, str], str]:
    """Return the names of all arms: with that of the study where several studies have the arm.

    Those that compare a chosen setting with others follow from the arms of the other studies.
    """
    keys = dict.fromkeys(
        (study, arm)
        for plan in (before, after)
        for study, arms in plan.items()
        for arm in arms
        if study != OVERTUNING
    )
    often = Counter(arm for _, arm in keys)
    return {key: key[1] if often[key[1]] == 1 else f"{key[1]} of {key[0]}" for key in keys}


def _leaves(values: Mapping[str, Any], start: str = "") -> dict[str, Any]:
    """Return the values of nested mappings by dotted key."""
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            leaves |= _leaves(value, f"{start}{key}.")
        else:
            leaves[f"{start}{key}"] = value
    return leaves


def _setting(setting: dict[str, dict[str, Any]] | None) -> str:
    return "none" if setting is None else format_setting(setting) or "as it is"


def _value(value: Any) -> str:
    return "none" if value is None else format_value(value)


def _row(run: PlannedRun) -> str:
    """Return what identifies a run of a plan in every version of code and libraries."""
    given = run.model_dump(mode="json", exclude={"study", "arm", "round"})
    return _canonical({**given, "fingerprint": "", "start": run.start is not None})


def _code(identities: Identities) -> dict[str, list[str]]:
    """Return the digests of the code of each part of the runs, such as training or dropout."""
    digests: dict[str, set[str]] = {}
    for one in identities.values():
        for part, digest in one["code"].items():
            digests.setdefault(part, set()).add(digest[:LENGTH])
    return {part: sorted(values) for part, values in digests.items()}


def _versions(identities: Identities) -> dict[str, str]:
    versions: dict[str, set[str]] = {}
    for one in identities.values():
        for name, version in one["versions"].items():
            versions.setdefault(name, set()).add(version)
    return {name: " and ".join(sorted(values)) for name, values in versions.items()}


def _entry(line: bytes) -> Planned | None:
    """Return the entry in a line, None where it is damaged."""
    try:
        entry = json.loads(line)
        is_whole = (
            _canonical(entry).encode() == line
            and entry[DIGEST] == _sha256(_canonical(entry[PLAN]).encode())
            and set(entry) == {BEFORE, DIGEST, PLAN}
        )
    except (ValueError, KeyError, TypeError):
        return None
    return entry if is_whole else None


def _part(value: Any) -> str:
    """Return the digest of a part of a plan."""
    return _sha256(_canonical(value).encode())[:LENGTH]


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
