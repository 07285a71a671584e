"""Find the studies that are made for other protocols, and say how to include them."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.config.parameters import EXPERIMENTS, Parameters
from pipeline.config.yaml_files import read_yaml, yaml_names
from pipeline.planning.protocols import Protocol
from pipeline.runtime.errors import Refusal

NAMED = 3  # studies in one line


def is_made_for(study: str, protocol: str, root: Path = Path()) -> bool:
    """Return whether a study is meant for a protocol; True if its file has errors to report.

    Args:
        study: The name of its file, without the suffix.
        protocol: The name of the protocol.
        root: The folder of the project.
    """
    try:
        protocols = read_yaml(root / EXPERIMENTS / f"{study}.yaml").get("protocols")
    except Refusal:
        return True
    return not isinstance(protocols, list) or protocol in protocols


def left_out_by_all(protocol: Protocol, parameters: Parameters, root: Path = Path()) -> list[str]:
    """Return the studies that `studies: all` leaves out; empty if studies are named.

    Args:
        protocol: The protocol.
        parameters: The content of `params.yaml`.
        root: The folder of the project.
    """
    if not isinstance(parameters.studies or protocol.studies, str):
        return []
    names = yaml_names(root / EXPERIMENTS)
    return [name for name in names if not is_made_for(name, protocol.name, root)]


def restriction_note(protocol: str, studies: Sequence[str]) -> str:
    """Return a line on the studies that are left out, with the key to change; "" if there are none.

    Args:
        protocol: The name of the protocol.
        studies: The names of the studies.
    """
    if not studies:
        return ""
    more = f" and {len(studies) - NAMED} more" if len(studies) > NAMED else ""
    count = "1 study is" if len(studies) == 1 else f"{len(studies)} studies are"
    return (
        f"{count} left out of {protocol}, made for other protocols: "
        f"{', '.join(studies[:NAMED])}{more}; to include one, add {protocol} to its list "
        f"`protocols`, as in {EXPERIMENTS / studies[0]}.yaml"
    )
