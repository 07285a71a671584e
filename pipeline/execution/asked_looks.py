"""Write requested looks of arms into `params.yaml`, and keep the rest of the file."""

import io
import sys
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML

from pipeline.config.parameters import PARAMETERS
from pipeline.runtime.files import write_bytes

RESOLVE = "resolve"


def ask_for_looks(looks: Mapping[str, Mapping[tuple[str, str], int]]) -> None:
    """Add looks to `resolve` of `params.yaml`; its comments and other keys are kept.

    Args:
        looks: Protocol -> (study, arm) -> the seeds of a declared look.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = sys.maxsize
    yaml.representer.add_representer(type(None), _null)
    document = yaml.load(PARAMETERS.read_text(encoding="utf-8"))
    requests = document.get(RESOLVE) or {}
    for protocol, arms in looks.items():
        for (study, arm), seeds in arms.items():
            requests.setdefault(protocol, {}).setdefault(study, {})[arm] = seeds
    document[RESOLVE] = requests
    buffer = io.BytesIO()
    yaml.dump(document, buffer)
    write_bytes(PARAMETERS, buffer.getvalue())


def _null(representer: Any, _: None) -> Any:
    """Write null as `null`; by default it would be empty."""
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")
