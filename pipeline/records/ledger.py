"""Keep the ledger of a report: an entry for each plan under which its test set was opened.

An entry is a line of JSON with sorted keys. It holds the SHA-256 of the line before it, so that an
entry that is changed, removed or moved no longer fits the next one. It is appended before any score
of its plan exists. Nothing in it depends on the machine or the time.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
# what a reader has elsewhere, or is kept in parts
NOT_PLANNED = {"protocol", "phase", "overridden", "studies", "runs", "starts", "loaded"}
ARROW = " -> "
CODE, LIBRARIES, DONE = "code", "libraries", "which runs are done"  # kinds of changes
DIGESTS = ("claims", "data_digest", "starts", "weights")  # values that are shown as changed only
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
Key = tuple[str, str]  # study, arm
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
        """Return the change as one line."""
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


def run_identities(folder: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the settings and inputs of the runs in a phase's folder, without failed runs.

    Args:
        folder: The folder of the phase.
        names: Fingerprints.

    Raises:
        Refusal: A run is corrupted.
    """
    contents = {name: read_file(folder / name, "run.json") for name in names}
    return {name: json.loads(content) for name, content in contents.items() if content}


def opened_plan(
    plan: Plan, identities: Identities, metric: str, code: Mapping[str, str]
) -> Planned:
    """Return the content of an entry for a plan: values, and digests of long parts.

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
        definition = arm.model_dump(mode="json")
        arms[study_name][arm.name] = {
            "setting": _only_setting(rows),
            "seeds": sorted({run.seed for run in rows}),
            "rule": definition.pop("rule"),
            "against": definition.pop("against"),
            "definition": _part(definition),
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
    """Return the setting of an arm; None if it has none, or a design, which `runs` digests."""
    settings = [run.setting for run in rows]
    return settings[0] if settings and all(one == settings[0] for one in settings) else None


def read_ledger(path: Path) -> tuple[Planned, ...]:
    """Return the plan of every entry, the first opening first; empty if there is no ledger.

    Args:
        path: The file `ledger.jsonl` of a report.

    Raises:
        Refusal: An entry is corrupted or does not follow from the one before it.
    """
    return parse_ledger(path.read_bytes(), str(path)) if path.exists() else ()


def parse_ledger(content: bytes, place: str) -> tuple[Planned, ...]:
    """Return the plan of every entry of a ledger with this content.

    Args:
        content: All lines, each with its end.
        place: Where it is from, for errors.

    Raises:
        Refusal: An entry is corrupted or does not follow from the one before it.
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
            raise Refusal(f"{place}: line {number}: corrupted; {cure}")
        if entry[BEFORE] != before:
            raise Refusal(f"{place}: line {number}: does not follow from the line before; {cure}")
        if plans and entry[PLAN] == plans[-1]:
            raise Refusal(f"{place}: line {number}: repeats the plan of the line before; {cure}")
        plans.append(entry[PLAN])
        before = _sha256(line)
    return tuple(plans)


def continue_ledger(path: Path, earlier: Path) -> None:
    """Continue the ledger of an earlier report of the same studies, if there is one.

    Args:
        path: The ledger of the protocol in the copy of the project in which they run.
        earlier: The ledger of that report there.

    Raises:
        Refusal: The earlier ledger is corrupted.
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
        Refusal: The ledger is corrupted.
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
        of_done = {"code", "versions"}  # a run that failed has none
        is_done = _without(of_done, before) == _without(of_done, after)
        changed.append(Change(DONE if is_done else "other parts of the plan", ""))
    return changed


def _changed_arms(before: Planned, after: Planned) -> Iterator[Change]:
    """Yield the added and the removed arms, and the changes of the other arms."""
    names = _names(before, after)
    yield from _listed("arms dropped", _lacking(before, after, names))
    yield from _listed("arms added", _lacking(after, before, names))
    both = {
        name: (before[study][arm], after[study][arm])
        for (study, arm), name in names.items()
        if arm in before.get(study, {}) and arm in after.get(study, {})
    }
    settings = [
        f"{name} {_setting(old['setting'])}{ARROW}{_setting(new['setting'])}"
        for name, (old, new) in both.items()
        if old["setting"] != new["setting"]
    ]
    yield from _listed("settings", settings)
    dropped = {name: _lacking_seeds(old, new) for name, (old, new) in both.items()}
    added = {name: _lacking_seeds(new, old) for name, (old, new) in both.items()}
    yield from _changed_seeds("seeds dropped", dropped)
    yield from _changed_seeds("seeds added", added)
    for key, kind in PARTS.items():
        differing = [name for name, (old, new) in both.items() if _differ(key, old, new)]
        yield from _listed(kind, differing)


def _lacking_seeds(arm: Planned, other: Planned) -> list[int]:
    """Return the seeds of one arm that the other arm does not have, ascending."""
    return sorted({*arm["seeds"]} - {*other["seeds"]})


def _differ(key: str, old: Planned, new: Planned) -> bool:
    """Return whether a part of an arm changed; runs are compared by settings and seeds."""
    if key == "runs" and (old["setting"] != new["setting"] or old["seeds"] != new["seeds"]):
        return False
    return bool(old[key] != new[key])


def _changed_seeds(kind: str, of_arms: Mapping[str, list[int]]) -> Iterator[Change]:
    """Yield the seeds that were added to or removed from all arms or some arms."""
    changed = {name: seeds for name, seeds in of_arms.items() if seeds}
    distinct = {tuple(seeds) for seeds in changed.values()}
    if len(distinct) == 1 and len(changed) == len(of_arms):
        (seeds_of_all,) = distinct
        yield Change(kind, _few([str(seed) for seed in seeds_of_all]))
    elif changed:
        yield Change(kind, _few([f"{len(seeds)} of {name}" for name, seeds in changed.items()]))


def _changed_values(before: Planned, after: Planned) -> Iterator[Change]:
    """Yield the changed values of the protocol and of the whole plan."""
    of_others = {"arms", "studies", "code", "versions", "looks"}
    old, new = _leaves(_without(of_others, before)), _leaves(_without(of_others, after))
    for key in dict.fromkeys([*old, *new]):
        if old.get(key) == new.get(key):
            continue
        name = NAMES.get(key, key.removeprefix("settings.").replace("tuned.", "tuned ", 1))
        shown = f"{_value(old.get(key))}{ARROW}{_value(new.get(key))}"
        is_short = key not in DIGESTS and len(shown) <= LONGEST
        yield Change(name, shown if is_short else "")


def _changed_looks(before: Planned, after: Planned) -> Iterator[Change]:
    """Yield changes of the declared looks, and the arms that stopped at another look.

    Arms that `gapwise resolve` has given a further look are named apart.
    """
    declared_before = before.get("seeds"), before.get("weights")
    declared_after = after.get("seeds"), after.get("weights")
    if declared_before != declared_after:
        yield Change("looks", f"{_declared(*declared_before)}{ARROW}{_declared(*declared_after)}")
    if not (before and after):
        return
    seeds, old, new = after["seeds"], _stops(before), _stops(after)
    names = _unambiguous(new)
    resolved, stopped = [], []
    for key, (look, reason) in new.items():
        if old.get(key, (look, reason)) == (look, reason):
            continue
        if reason == ASKED:
            resolved.append(f"{names[key]} to {seeds[look - 1]} seeds")
        else:
            stopped.append(names[key])
    yield from _listed(RESOLVED, resolved)
    yield from _listed(STOPPED, stopped)


def _stops(looks: Planned) -> dict[Key, tuple[int, str]]:
    """Return the look at which each arm stopped, and the reason."""
    return {(stop["study"], stop["arm"]): (stop["look"], stop["reason"]) for stop in looks["stops"]}


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
    yield from _listed("definition of a study", changed)


def _changed_code(before: Planned, after: Planned) -> Iterator[Change]:
    """Yield the changed parts of the code and the changed libraries."""
    code, new_code = before["code"], after["code"]
    changed = []
    for name in code:
        old, new = set(code[name]), set(new_code.get(name, ()))
        is_subset = old <= new or new <= old  # of an arm that was added or dropped alone
        if name in new_code and not is_subset:
            changed.append(name)
    yield from _listed(CODE, changed)
    libraries, new_libraries = before["versions"], after["versions"]
    versions = []
    for name in dict.fromkeys([*libraries, *new_libraries]):
        version, new_version = libraries.get(name, "none"), new_libraries.get(name, "none")
        if version != new_version:
            versions.append(f"{name} {version}{ARROW}{new_version}")
    yield from _listed(LIBRARIES, versions)


def _without(keys: set[str], plan: Planned) -> Planned:
    """Return a plan without some of its keys."""
    return {key: value for key, value in plan.items() if key not in keys}


def _listed(kind: str, names: Sequence[str]) -> Iterator[Change]:
    if names:
        yield Change(kind, _few(names))


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more


def _lacking(arms: Planned, others: Planned, names: Mapping[Key, str]) -> list[str]:
    """Return the names of arms that the other plan lacks, without baselines of whole studies."""
    return [
        name
        for (study, arm), name in names.items()
        if arm in arms.get(study, {})
        and arm not in others.get(study, {})
        and (arm != BASELINE or study in others)
    ]


def _names(before: Planned, after: Planned) -> dict[Key, str]:
    """Return the names of all arms of two plans.

    Those that compare a chosen setting with others follow from the arms of the other studies.
    """
    keys: dict[Key, None] = {}
    for plan in (before, after):
        for study, arms in plan.items():
            if study != OVERTUNING:
                keys |= {(study, arm): None for arm in arms}
    return _unambiguous(keys)


def _unambiguous(keys: Iterable[Key]) -> dict[Key, str]:
    """Return the names of arms, with the name of the study if several studies have the arm."""
    listed = list(keys)
    often = Counter(arm for _, arm in listed)
    return {(study, arm): arm if often[arm] == 1 else f"{arm} of {study}" for study, arm in listed}


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
    """Return a key of a run that does not depend on versions of code and libraries."""
    values = run.model_dump(mode="json", exclude={"study", "arm", "round"})
    return _canonical({**values, "fingerprint": "", "start": run.start is not None})


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
    """Return the entry in a line; None if it is corrupted."""
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
