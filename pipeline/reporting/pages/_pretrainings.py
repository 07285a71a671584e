"""Describe the pretrainings of a report: the data and the other changes of each."""

from collections.abc import Iterator
from typing import Any

from pipeline.config.labels import format_value, format_values
from pipeline.config.plan import FIRST_PHASE, PlannedStart
from pipeline.config.run import RunConfig
from pipeline.config.start import RunStart
from pipeline.reporting import markdown as md
from pipeline.reporting.evidence import ReportData
from pipeline.reporting.pages._transfer import has_starts

ALL = "all"
COLUMN = "other training values"
SECTION = "method.md#pretrainings"
FROM_FRONT, FROM_PAGE = "pages/transfer.md", "transfer.md"  # where the page of transfer is
SIZES = ("dataset", "classes", "per_class", "train_size", "validation_size", "test_fraction")


def has_pretrainings(data: ReportData) -> bool:
    """Return whether an arm starts from a pretraining of the protocol."""
    return any(_pretrainings(data))


def pretraining_section(data: ReportData) -> str:
    """Return a description of each pretraining; empty if none is stored."""
    rows = _rows(data)
    if not rows:
        return ""
    text = (
        "A pretraining is trained first, once for each seed and network, and shared by the arms of "
        "a seed. Arms start from its weights, except for the head and for layers that are "
        "initialized again. If they normalize inputs, they use the mean and the standard deviation "
        "of its training examples."
    )
    caption = (
        f"Other training values: those that differ from the baseline's; {md.VOID}: none. Set "
        "apart: of the classes that the protocol also has, the share of the development examples "
        "that is kept for pretraining. No pretraining sees an example of the protocol's pool or "
        "test set."
    )
    words = ("pretraining", "dataset", "classes", "starts from", COLUMN, "regularizers")
    return md.join_parts(text, md.format_table(md.without_void(rows), caption, words))


def pretraining_sentence(data: ReportData) -> str:
    """Return a short description of each pretraining; empty if none is stored."""
    described: dict[str, str] = {}
    for row in _rows(data):
        classes = "" if row["classes"] == ALL else f", classes {row['classes']}"
        acting = "" if row["regularizers"] == md.VOID else f", with {row['regularizers']}"
        examples = f"{row['training examples']} examples of {row['dataset']}{classes}{acting}"
        described.setdefault(row["pretraining"], f"**{row['pretraining']}** ({examples})")
    if not described:
        return ""
    return f"[Pretrainings]({SECTION}): {'; '.join(described.values())}."


def cost_note(data: ReportData, page: str) -> str:
    """Return that costs leave out pretrainings, with a space before; empty without any.

    Args:
        data: The report.
        page: The path to the page of transfer, FROM_FRONT or FROM_PAGE.
    """
    if not (has_starts(data) and has_pretrainings(data)):
        return ""
    return f" Costs do not include pretraining ([costs with it]({page}#cost-of-training))."


def _pretrainings(data: ReportData) -> Iterator[PlannedStart]:
    """Yield the runs that other runs start from, without first phases of a training."""
    yield from (start for start in data.confirmation.starts if start.name != FIRST_PHASE)


def _rows(data: ReportData) -> list[dict[str, str]]:
    """Return a row for each pretraining, over its seeds and networks."""
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for start in _pretrainings(data):
        if start.fingerprint in data.starts:
            row = _row(data, start)
            rows.setdefault(tuple(row.values()), row)
    return list(rows.values())


def _row(data: ReportData, start: PlannedStart) -> dict[str, str]:
    config = data.starts[start.fingerprint]
    classes = config.data.get("classes")
    shares = data.data.get("apart", {}).get(start.name, {})
    changed = format_values(_changes(data, config))
    acting = ", ".join(format_value(item) for item in config.regularizers)
    return {
        "pretraining": md.escape(start.name),
        "dataset": md.escape(str(config.data["dataset"])),
        "classes": md.escape(", ".join(map(str, classes))) if classes else ALL,
        "training examples": f"{config.data['train_size']:,}",
        "epochs": str(_epochs(data, start)),
        "starts from": _source(data, start),
        COLUMN: md.escape(changed) or md.VOID,
        "regularizers": md.escape(acting) or md.VOID,
        "set apart (%)": f"{100 * shares['share']:g}" if shares.get("share") else md.VOID,
    }


def _changes(data: ReportData, config: RunConfig) -> dict[str, Any]:
    """Return the values of training, of its start and of labels that are not the baseline's."""
    usual = data.confirmation.settings
    training = usual["training"] | {"epochs": config.training["epochs"]}
    labels = {key: value for key, value in usual["data"].items() if key not in SIZES}
    start = RunStart(**config.start).model_dump(mode="json")
    random = RunStart(head=start["head"]).model_dump(mode="json")
    return {
        **_others(config.training, training),
        **_others({key: config.data.get(key) for key in labels}, labels),
        **{f"start.{key}": value for key, value in _others(start, random).items()},
    }


def _others(values: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value != usual.get(key)}


def _epochs(data: ReportData, start: PlannedStart) -> int:
    """Return the epochs of a pretraining, of both phases if it has two."""
    epochs = int(data.starts[start.fingerprint].training["epochs"])
    before = _before(data, start)
    return epochs + (_epochs(data, before) if before and before.name == FIRST_PHASE else 0)


def _source(data: ReportData, start: PlannedStart) -> str:
    """Return the pretraining that another one starts from."""
    before = _before(data, start)
    if before is None:
        return md.VOID
    return _source(data, before) if before.name == FIRST_PHASE else md.escape(before.name)


def _before(data: ReportData, start: PlannedStart) -> PlannedStart | None:
    """Return the run whose weights a pretraining starts from; None for random weights."""
    starts = (one for one in data.confirmation.starts if one.fingerprint == start.start)
    return next(starts, None)
