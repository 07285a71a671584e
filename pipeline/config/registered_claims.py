"""Read the claims of all studies of a project, without checks of the rest of the files."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from pipeline.config.claims import Claim
from pipeline.config.parameters import EXPERIMENTS
from pipeline.config.settings import Settings
from pipeline.config.validation import checked, invalid, unknown_name
from pipeline.config.yaml_files import read_yaml, yaml_names
from pipeline.runtime.errors import Refusal


class _Registered(Settings):
    """The claims of a study file, whatever else it holds."""

    claims: tuple[Claim, ...] = Field(())


def read_claims(root: Path = Path()) -> dict[str, tuple[Claim, ...]]:
    """Return the claims of every study of a project, by study; a study may have none.

    Args:
        root: The folder of the project; by default the current one.

    Raises:
        Refusal: A claim is invalid, two have one id, or an alternative does not exist; a line for
            each mistake.
    """
    registered: dict[str, tuple[Claim, ...]] = {}
    errors: list[str] = []
    ids: list[str] = []  # also of invalid claims, which others may name
    for name in yaml_names(root / EXPERIMENTS):
        path = EXPERIMENTS / f"{name}.yaml"
        document = {"claims": read_yaml(root / path).get("claims") or []}
        ids += _ids(document["claims"])
        try:
            registered[name] = checked(_Registered, document, path).claims
        except Refusal as refusal:
            errors += refusal.lines
    errors += _repeated_ids(registered)
    for where, claim in _numbered(registered):
        if claim.alternative is not None and claim.alternative not in ids:
            errors.append(unknown_name(f"{where}.alternative", claim.alternative, ids))
    if errors:
        raise Refusal(*errors)
    return registered


def _ids(claims: Any) -> list[str]:
    """Return the ids of claims that may be invalid."""
    if not isinstance(claims, list):
        return []
    ids = [claim.get("id") for claim in claims if isinstance(claim, Mapping)]
    return [name for name in ids if isinstance(name, str)]


def _repeated_ids(registered: Mapping[str, Sequence[Claim]]) -> list[str]:
    """Return a line for every claim whose id another claim before it has."""
    first: dict[str, str] = {}
    lines = []
    for where, claim in _numbered(registered):
        other = first.setdefault(claim.id, where)
        if other != where:
            lines.append(invalid(f"{where}.id", claim.id, f"another id than that of {other}"))
    return lines


def _numbered(registered: Mapping[str, Sequence[Claim]]) -> Iterator[tuple[str, Claim]]:
    """Yield every claim with its place: file and number."""
    for study, claims in registered.items():
        for number, claim in enumerate(claims):
            yield f"{EXPERIMENTS / study}.yaml: claims.{number}", claim
