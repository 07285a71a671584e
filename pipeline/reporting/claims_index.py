"""Write `reports/claims.md`: claims of lectures and papers, over all protocols."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.comparison.verdicts import Outcome
from pipeline.config.claims import Claim
from pipeline.config.identities import IDENTITIES
from pipeline.records.reports import Row, WrittenReport
from pipeline.reporting import markdown as md
from pipeline.reporting.claim_cells import BY, CORRECTED, TESTED, effect_cell
from pipeline.reporting.markdown import Formatter

CLAIMS_PAGE = "claims.md"
CONDITIONAL = "conditional"  # supported under one protocol, contradicted under another
ORDER = (Outcome.SUPPORTED, Outcome.CONTRADICTED, CONDITIONAL, Outcome.INCONCLUSIVE)
FORMAT = Formatter()
CAPTION = (
    "Outcome, and difference in the unit of the measure (points, nats, a ratio or a correlation), "
    f"with a link to its interval. {CORRECTED}; intervals are not corrected. A claim about a sign "
    "is also contradicted by a difference that is shown to be within the margin; the linked page "
    f"says so. {md.VOID}: not tested in this protocol."
)
COUNTED = (
    "A claim counts once, however many reports test it. It is supported or contradicted if at "
    "least one protocol shows so and none shows the opposite, and conditional if protocols "
    "disagree. Claims of different sources with the same contrast count separately."
)
OTHERS = (
    "`gapwise claims --protocol NAME` lists those that can be tested with the data and the network "
    "of a protocol, with the runs and minutes of their studies. With `--run`, it also trains these "
    "runs and tests the claims."
)

Registered = Mapping[str, Sequence[Claim]]  # study -> its claims


@dataclass(frozen=True)
class Judged:
    """A claim over all protocols.

    Attributes:
        claim: One of its rows, for its text.
        verdict: Its outcome where it is the same under all protocols that decide it, otherwise
            `CONDITIONAL`.
        rows: Its row by protocol, where it was tested.
        places: The folder of the report of each.
    """

    claim: Row
    verdict: str
    rows: Mapping[str, Row]
    places: Mapping[str, str]

    @property
    def conditions(self) -> str:
        """Return on which protocols a conditional claim is supported and on which contradicted."""
        if self.verdict != CONDITIONAL:
            return ""
        parts = []
        for outcome in (Outcome.SUPPORTED, Outcome.CONTRADICTED):
            names = [name for name, row in self.rows.items() if row["outcome"] == outcome]
            parts.append(f"{outcome} on {md.format_list(names)}")
        return ", ".join(parts)


def judged_claims(
    reports: Mapping[str, WrittenReport], partial: Mapping[str, WrittenReport]
) -> list[Judged]:
    """Return every claim that a report tested, in the order of the reports, opposites together.

    A report of only some studies counts for a claim that the report of its protocol has not tested.

    Args:
        reports: The reports of protocols by name.
        partial: The reports of only some studies of a protocol.
    """
    rows: dict[str, dict[str, Row]] = {}  # by claim and protocol
    places: dict[str, dict[str, str]] = {}
    for place, row in _tested_rows([*reports.items(), *partial.items()]):
        claim, protocol = row["claim"], place.partition("+")[0]
        rows.setdefault(claim, {}).setdefault(protocol, row)
        places.setdefault(claim, {}).setdefault(protocol, place)
    judged = {}
    for claim, by_protocol in rows.items():
        outcomes = list(by_protocol.values())
        judged[claim] = Judged(outcomes[0], _verdict(outcomes), by_protocol, places[claim])
    return list(_in_pairs(judged))


def _tested_rows(reports: Iterable[tuple[str, WrittenReport]]) -> Iterator[tuple[str, Row]]:
    """Yield the folder of a report and a row for every claim that it tested."""
    for place, report in reports:
        for row in report.claims:
            if row["outcome"] in TESTED:
                yield place, row


def claims_page(
    reports: Mapping[str, WrittenReport],
    partial: Mapping[str, WrittenReport],
    registered: Registered,
) -> str:
    """Return the page: a line for each claim, a column for each protocol.

    Args:
        reports: The reports of protocols by name.
        partial: The reports of only some studies of a protocol.
        registered: All claims of the project.
    """
    claims = judged_claims(reports, partial)
    names = sorted({name for judged in claims for name in judged.rows})
    rows = [_cells(judged, names) for judged in claims]
    words = ("claim", "outcome", *names)
    conditional = [
        f"**{judged.claim['claim']}**: {judged.conditions}"
        for judged in claims
        if judged.conditions
    ]
    table = md.format_table(rows, CAPTION, words) if rows else ""
    parts = [
        "# Claims of lectures and papers",
        " ".join([claims_summary(claims, registered), COUNTED]) if rows else "",
        _untested(claims, registered),
        table,
        md.section("Conditional claims", md.format_bullets(conditional)),
        md.section("Identities", _identities() if rows else ""),
    ]
    return md.join_parts(*parts) + "\n"


def claims_summary(claims: Sequence[Judged], registered: Registered) -> str:
    """Return the number of claims that reports tested, and their outcomes; "" for none.

    A claim that only the plan of a report has is registered too.

    Args:
        claims: Those that reports tested.
        registered: All claims of the project.
    """
    if not claims:
        return ""
    named = {judged.claim["claim"] for judged in claims}
    named |= {claim.id for each in registered.values() for claim in each}
    counts = []
    for outcome in ORDER:
        number = len([judged for judged in claims if judged.verdict == outcome])
        counts += [f"{number} {outcome}"] if number else []
    count = md.format_count(len(named), "registered claim")
    return f"{len(claims)} of {count} tested: {', '.join(counts)}."


def _untested(claims: Sequence[Judged], registered: Registered) -> str:
    """Return the number of claims that no report tested, and how to test them; "" for none."""
    tested = {judged.claim["claim"] for judged in claims}
    others = [claim for each in registered.values() for claim in each if claim.id not in tested]
    if not others:
        return ""
    number = len([claim for claim in others if claim.rule == "identity"])
    identities = f" ({number} of them cannot be: they follow from the settings)" if number else ""
    count = md.format_count(len(others), "registered claim")
    return f"Not tested by these reports: {count}{identities}. {OTHERS}"


def outcome_cell(row: Row) -> str:
    """Return the outcome of a claim under one protocol with its number."""
    return f"{row['outcome']} {effect_cell(row, FORMAT, interval=False)}"


def _cells(judged: Judged, names: Sequence[str]) -> dict[str, str]:
    row = judged.claim
    cells = {
        "claim": f"**{row['claim']}** ({BY[row['by']]}): {md.escape(row['says'])}",
        "outcome": f"**{judged.verdict}**",
    }
    for name in names:
        cells[name] = md.VOID
        if name in judged.rows:
            link = f"{judged.places[name]}/pages/claims.md"
            cells[name] = f"[{outcome_cell(judged.rows[name])}]({link})"
    return cells


def _identities() -> str:
    """Return the claims that no data can contradict, each with its test."""
    lines = [f"{identity} `{test}`" for identity, test in IDENTITIES.items()]
    return md.join_parts(
        "Mathematical identities, which no data can contradict, are verified by tests of Gapwise.",
        md.format_bullets(lines),
    )


def _verdict(rows: Iterable[Row]) -> str:
    """Return the outcome over all protocols; undecided ones count only if no protocol decides."""
    outcomes = {row["outcome"] for row in rows}
    decided = outcomes & {Outcome.SUPPORTED, Outcome.CONTRADICTED}
    if len(decided) > 1:
        return CONDITIONAL
    return str(decided.pop()) if decided else str(Outcome.INCONCLUSIVE)


def _in_pairs(judged: Mapping[str, Judged]) -> Iterator[Judged]:
    """Yield the claims in their order, each followed by the opposite claim."""
    order: dict[str, None] = {}
    for name, one in judged.items():
        order.setdefault(name)
        if one.claim["alternative"] in judged:
            order.setdefault(one.claim["alternative"])
    yield from (judged[name] for name in order)
