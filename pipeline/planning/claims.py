"""Check the claims of studies, and read those of all studies of a project."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import Field

from pipeline.config.claims import Claim, Contrast
from pipeline.config.parameters import EXPERIMENTS
from pipeline.config.plan import BASELINE, Kind
from pipeline.config.run import Data, Training
from pipeline.config.settings import Settings
from pipeline.config.validation import checked, invalid, unknown_name
from pipeline.config.yaml_files import read_yaml, yaml_names
from pipeline.data import sources
from pipeline.runtime.errors import Refusal

# the keys of the sections of a protocol; those of a model depend on its name
SECTIONS = {"data": Data.model_fields, "training": Training.model_fields, "model": ()}


class _Registered(Settings):
    """The claims of a study file, whatever else it holds."""

    claims: tuple[Claim, ...] = Field(())


def read_claims(root: Path = Path()) -> dict[str, tuple[Claim, ...]]:
    """Return the claims of every study file of a project, by study; studies without any too.

    Raises:
        Refusal: A claim is invalid, two have one id, or an alternative does not exist; a line for
            each mistake.
    """
    registered: dict[str, tuple[Claim, ...]] = {}
    errors: list[str] = []
    for name in yaml_names(root / EXPERIMENTS):
        path = EXPERIMENTS / f"{name}.yaml"
        document = {"claims": read_yaml(root / path).get("claims") or []}
        try:
            registered[name] = checked(_Registered, document, path).claims
        except Refusal as refusal:
            errors += refusal.lines
    errors += repeated_ids(registered)
    ids = [claim.id for claims in registered.values() for claim in claims]
    for where, claim in _numbered(registered):
        if claim.alternative is not None and claim.alternative not in ids:
            errors.append(unknown_name(f"{where}.alternative", claim.alternative, ids))
    if errors:
        raise Refusal(*errors)
    return registered


def with_partners(registered: Mapping[str, Sequence[Claim]], studies: Collection[str]) -> list[str]:
    """Return studies and those that claims of theirs, or about them, compare them with.

    Args:
        registered: The claims by study.
        studies: Names of studies.
    """
    pairs = [
        (study, contrast.against_study)
        for study, claims in registered.items()
        for claim in claims
        for contrast in claim.contrasts
        if contrast.against_study
    ]
    added = {one for pair in pairs if {*pair} & {*studies} for one in pair}
    return [study for study in registered if study in {*studies, *added}]


def repeated_ids(registered: Mapping[str, Sequence[Claim]]) -> list[str]:
    """Return a line for every claim whose id another claim before it has.

    Args:
        registered: The claims by study.
    """
    first: dict[str, str] = {}
    lines = []
    for where, claim in _numbered(registered):
        other = first.setdefault(claim.id, where)
        if other != where:
            lines.append(invalid(f"{where}.id", claim.id, f"another id than that of {other}"))
    return lines


def claim_mistakes(
    claims: Sequence[Claim], kind: Kind, arms: Sequence[str], path: Path
) -> Iterator[str]:
    """Yield a line for each unknown arm or dataset, and for what its kind of study cannot measure.

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
            if contrast is None:
                continue
            measured_by = (
                "ensemble" if contrast.is_averaged else "search" if contrast.search else ""
            )
            if measured_by != (kind if kind in ("ensemble", "search") else ""):
                expected = (
                    "methods or members in a study with ensemble, a search in one with search, "
                    "arms in any other"
                )
                yield invalid(f"{where}.{key}", contrast.model_dump(exclude_unset=True), expected)
            if _compares_with_itself(contrast, path.stem):
                yield invalid(
                    f"{where}.{key}",
                    contrast.model_dump(exclude_unset=True),
                    "another arm than the one it is compared with, by default the baseline",
                )
            unknown = [name for name in contrast.arms if name not in (*arms, BASELINE)]
            yield from (unknown_name(f"{where}.{key}", name, arms) for name in unknown)
        for key in claim.needs:
            section, _, name = key.partition(".")
            keys = [f"{section}.{field}" for field in SECTIONS.get(section, ())]
            if section != "model" and key not in keys:
                yield unknown_name(f"{where}.needs", key, keys or SECTIONS)
        for name in sorted(set(claim.datasets or ()) - set(datasets)):
            yield unknown_name(f"{where}.datasets", name, datasets)


def _compares_with_itself(contrast: Contrast, study: str) -> bool:
    """Return whether both sides of a contrast of arms are the same arm."""
    if contrast.arm is None or contrast.passes or contrast.search:
        return False
    is_here = contrast.against_study in (None, study)
    return is_here and contrast.arm == (contrast.against or BASELINE)


def _numbered(registered: Mapping[str, Sequence[Claim]]) -> Iterator[tuple[str, Claim]]:
    """Yield every claim with its place: file and number."""
    for study, claims in registered.items():
        for number, claim in enumerate(claims):
            yield f"{EXPERIMENTS / study}.yaml: claims.{number}", claim
