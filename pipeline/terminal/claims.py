"""Print the output of `gapwise claims`: outcomes over reports, and what a protocol still needs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.comparison.looks import decide
from pipeline.comparison.verdicts import Outcome
from pipeline.config.claims import Claim
from pipeline.config.parameters import read_parameters
from pipeline.config.registered_claims import read_claims
from pipeline.evaluation.validation import validation_scores
from pipeline.execution.forecast import forecast_of, seconds_per_run
from pipeline.planning.claims import with_partners
from pipeline.planning.protocols import Protocol, document_of
from pipeline.planning.restricted import is_made_for, restriction_note
from pipeline.planning.studies import Experiment, experiment_of, read_experiment, read_study
from pipeline.records.reports import WrittenReport, partial_names, read_report, report_names
from pipeline.records.store import open_store
from pipeline.reporting.claim_cells import BY, CORRECTED, effect_cell
from pipeline.reporting.claims_index import claims_summary, judged_claims, outcome_cell
from pipeline.reporting.markdown import CONFIDENCE, Formatter, format_count
from pipeline.runtime.errors import Refusal
from pipeline.terminal.plan import minutes_of
from pipeline.terminal.tables import say, show, table

REPORTS = Path("reports")
LABEL = "claims"  # of the report of the studies that claims need, after its protocol


def show_claims() -> None:
    """Print every claim that a report tested, with its outcome under each protocol.

    Raises:
        Refusal: A claim of a study or a report is invalid.
    """
    registered = read_claims()
    judged = judged_claims(*_reports())
    rows = table("claim", "outcome", "protocols")
    for one in judged:
        shown = [f"{name}: {outcome_cell(row)}" for name, row in one.rows.items()]
        rows.add_row(_claim_text(one.claim), one.verdict, "\n".join(shown))
    if not judged:
        count = format_count(sum(map(len, registered.values())), "registered claim")
        say(f"{count}, of which no report has tested one.")
        return
    show(rows)
    say(f"{claims_summary(judged, registered)} {CORRECTED}.")


def show_claims_of(protocol: str) -> list[str]:
    """Print the claims of one protocol, and the studies that it needs for further ones.

    Args:
        protocol: The name of the protocol.

    Returns:
        The names of these studies, with those that their claims compare them with.

    Raises:
        Refusal: A settings file or a report is invalid.
    """
    registered = read_claims()
    reports, partial = _reports()
    protocol_reports = [
        report
        for name, report in (*reports.items(), *partial.items())
        if name.partition("+")[0] == protocol
    ]
    _show_outcomes(protocol, protocol_reports)
    experiment = read_experiment(protocol)
    reported = {row["study"] for report in protocol_reports for row in report.claims}
    missing = _missing(registered, experiment.protocol, reported)
    others = [
        study
        for study in _claiming(registered, experiment.protocol, reported)
        if not is_made_for(study, protocol)
    ]
    if others:
        say(f"note: {restriction_note(protocol, others)}")
    if not missing:
        say(f"{protocol}: no further study has claims that can be tested here.")
        return []
    before = partial.get(f"{protocol}+{LABEL}")  # which is written again
    tested = {row["study"] for row in before.claims} if before else set()
    needed = [
        study
        for study in with_partners(registered, {*missing, *tested})
        if study in missing or study in reported
    ]
    _show_runs(protocol, needed, missing)
    return needed


def _show_outcomes(protocol: str, reports: Sequence[WrittenReport]) -> None:
    """Print the row of every claim of these reports; the first report that tests one counts."""
    rows: dict[str, Mapping[str, Any]] = {}
    for report in reports:
        for row in report.claims:
            if row["outcome"] != Outcome.NOT_TESTABLE:
                rows.setdefault(row["claim"], row)
    if not rows:
        say(f"{protocol}: no report has tested a claim yet.")
        return
    listed = table("claim", "difference", "outcome", title=f"{protocol}: claims")
    for row in rows.values():
        listed.add_row(_claim_text(row), effect_cell(row, Formatter()), row["outcome"])
    show(listed)
    say(
        f"{CORRECTED}; the {CONFIDENCE} intervals are not corrected, unlike those in the answer of "
        "a report."
    )


def _missing(
    registered: Mapping[str, Sequence[Claim]], protocol: Protocol, reported: set[str]
) -> dict[str, list[Claim]]:
    """Return the studies with claims about these data that no report has and that can run."""
    claiming = _claiming(registered, protocol, reported)
    return {study: claims for study, claims in claiming.items() if _can_run(study, protocol)}


def _claiming(
    registered: Mapping[str, Sequence[Claim]], protocol: Protocol, reported: set[str]
) -> dict[str, list[Claim]]:
    """Return the claims about these data by study, of the studies that no report has."""
    dataset = protocol.data.dataset
    fitting = {
        study: [one for one in claims if not one.datasets or dataset in one.datasets]
        for study, claims in registered.items()
        if study not in reported
    }
    return {study: claims for study, claims in fitting.items() if claims}


def _can_run(study: str, protocol: Protocol) -> bool:
    """Return whether a study is meant for a protocol and acts on its network."""
    try:
        read_study(study, protocol)
    except Refusal:
        return False
    return True


def _show_runs(
    protocol: str, studies: Sequence[str], missing: Mapping[str, Sequence[Claim]]
) -> None:
    """Print the claims, the runs to train and the minutes of some studies of a protocol."""
    document, source = document_of(protocol, read_parameters(), Path())

    def read(tuned: Mapping[str, Any]) -> Experiment:
        return experiment_of({**document, "studies": list(studies)}, source, tuned=tuned)

    expected = forecast_of(protocol, read, validation_scores, decide)
    plans, seconds = (expected.exploration, expected.confirmation), seconds_per_run(read({}))
    store, counted = open_store(), set[str]()
    rows = table("study and its claims", "runs", "minutes", title=f"{protocol}: still needed")
    for study in dict.fromkeys(study for plan in plans for study, _ in plan.arms()):
        names = {run.fingerprint for plan in plans for run in plan.runs if run.study == study}
        left = {name for name in names - counted if not store.finished(name)}
        counted |= names
        minutes, _ = minutes_of(plans, left, seconds)
        listed = [study, *(f"  {claim.id}" for claim in missing.get(study, ()))]
        rows.add_row("\n".join(listed), str(len(left)), f"{minutes:.1f}")
    show(rows)
    left = {name for plan in plans for name in plan.trained() if not store.finished(name)}
    minutes, workers = minutes_of(plans, left, seconds)
    more = expected.most_added.widening + expected.most_added.searching
    counted_claims = format_count(sum(map(len, missing.values())), "claim")
    added = f"; further rounds of exploration may add up to {more} runs" if more else ""
    say(
        f"{counted_claims}, {len(left)} runs to train: about {minutes:.1f} "
        f"minutes with {workers} workers{added}. "
        f"Train them: gapwise claims --protocol {protocol} --run"
    )


def _claim_text(row: Mapping[str, Any]) -> str:
    return f"{row['claim']} ({BY[row['by']]})\n  {row['says']}"


def _reports() -> tuple[dict[str, WrittenReport], dict[str, WrittenReport]]:
    """Return the reports of protocols, and those of some studies alone, by folder."""
    return (
        {name: read_report(REPORTS / name) for name in report_names(REPORTS)},
        {name: read_report(REPORTS / name) for name in partial_names(REPORTS)},
    )
