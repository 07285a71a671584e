"""Check the claims of studies."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError, create_model
from pydantic.fields import FieldInfo

from pipeline import models
from pipeline.config.claims import Claim, Contrast
from pipeline.config.plan import BASELINE, Kind
from pipeline.config.run import Data, Training
from pipeline.config.settings import Settings
from pipeline.config.validation import invalid, unknown_name
from pipeline.data import sources

SECTIONS = ("data", "training", "model")  # sections of a protocol whose values a claim can need


def with_partners(registered: Mapping[str, Sequence[Claim]], studies: Collection[str]) -> list[str]:
    """Return studies together with the studies to which claims compare them.

    Args:
        registered: The claims by study.
        studies: Names of studies.
    """
    partners = {*studies}
    for study, claims in registered.items():
        for other in _compared_studies(claims):
            if study in studies or other in studies:
                partners |= {study, other}
    return [study for study in registered if study in partners]


def _compared_studies(claims: Sequence[Claim]) -> set[str]:
    """Return the other studies that claims compare theirs with."""
    contrasts = [contrast for claim in claims for contrast in claim.contrasts]
    return {contrast.against_study for contrast in contrasts if contrast.against_study}


def claim_mistakes(
    claims: Sequence[Claim], kind: Kind, arms: Sequence[str], path: Path
) -> Iterator[str]:
    """Yield a line for each unknown arm or dataset, and each measure that its study cannot have.

    Args:
        claims: The claims of a study.
        kind: What is done with its arms.
        arms: Their names, the baseline's too.
        path: The file of the study.
    """
    datasets = sources.settings()
    for number, claim in enumerate(claims):
        where = f"{path}: claims.{number}"
        if kind == "variance":
            yield f"{where}: given with variance; expected a study that compares or averages"
        for key, contrast in (("contrast", claim.contrast), ("than", claim.than)):
            if contrast is not None:
                yield from _contrast_mistakes(contrast, f"{where}.{key}", kind, arms, path.stem)
        yield from _needs_mistakes(claim, f"{where}.needs")
        for name in sorted(set(claim.datasets or ()) - set(datasets)):
            yield unknown_name(f"{where}.datasets", name, datasets)


def _contrast_mistakes(
    contrast: Contrast, where: str, kind: Kind, arms: Sequence[str], study: str
) -> Iterator[str]:
    """Yield an error line for each unknown arm, and if the study cannot measure a contrast."""
    values = contrast.model_dump(exclude_unset=True)
    if _measured_by(contrast) != (kind if kind in ("ensemble", "search") else ""):
        expected = (
            "methods or members in a study with ensemble, a search in one with search, "
            "arms in any other"
        )
        yield invalid(where, values, expected)
    if _compares_with_itself(contrast, study):
        expected = "another arm than the one it is compared with, by default the baseline"
        yield invalid(where, values, expected)
    for name in contrast.arms:
        if name not in (*arms, BASELINE):
            yield unknown_name(where, name, arms)


def _measured_by(contrast: Contrast) -> str:
    """Return the kind of study that a contrast needs; "" for a contrast of arms."""
    if contrast.is_averaged:
        return "ensemble"
    return "search" if contrast.is_searched else ""


def _needs_mistakes(claim: Claim, where: str) -> Iterator[str]:
    """Yield a line for each condition of a claim that no protocol can meet."""
    for key, value in claim.needs.items():
        section, _, name = key.partition(".")
        fields = _fields(section)
        if name not in fields:
            keys = [f"{section}.{field}" for field in fields]
            yield unknown_name(where, key, keys or SECTIONS)
        elif not any(_accepts(field, value) for field in fields[name]):
            yield invalid(f"{where}.{key}", value, "a value that this key can have")


def _fields(section: str) -> dict[str, list[FieldInfo]]:
    """Return the keys of a section of a protocol, each with its fields: one for every network."""
    classes: dict[str, list[type[Settings]]] = {"data": [Data], "training": [Training]}
    if section == "model":
        classes["model"] = list(models.settings().values())
    fields: dict[str, list[FieldInfo]] = {}
    for one in classes.get(section, ()):
        for name, field in one.model_fields.items():
            fields.setdefault(name, []).append(field)
    return fields


def _accepts(field: FieldInfo, value: Any) -> bool:
    """Return whether a value is one that a key of settings can have."""
    definition: Any = (field.annotation, field)
    model = create_model("Needed", __base__=Settings, value=definition)
    try:
        model.model_validate_json(json.dumps({"value": value}))
    except ValidationError:
        return False
    return True


def _compares_with_itself(contrast: Contrast, study: str) -> bool:
    """Return whether both sides of a contrast of arms are the same arm."""
    if contrast.arm is None or contrast.passes or contrast.is_searched:
        return False
    is_here = contrast.against_study in (None, study)
    return is_here and contrast.arm == (contrast.against or BASELINE)
