"""Read scores that other programs wrote: a CSV file with all of them, or one per run."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.config.validation import unknown_name
from pipeline.config.yaml_files import read_yaml
from pipeline.runtime.errors import Refusal

LARGEST = 100_000_000  # bytes; a row per run is far less
MOST_FILES = 10_000
SETTINGS = ("hparams.yaml", ".hydra/config.yaml")  # of a run, in its folder or one above it
LEVELS = 4  # folders above a file in which its settings are looked for
PLACEHOLDER = re.compile(r"\{(arm|seed)\}")


def read_score_table(path: Path, content: str = "scores") -> pd.DataFrame:
    """Return the cells of a CSV file as texts.

    Args:
        path: The file.
        content: What the error for a missing file says that it has.

    Raises:
        Refusal: It is missing, larger than 100 MB, or no CSV.
    """
    _require_file(path, content)
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, strict=True)
            numbered = [(reader.line_num, row) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        expected = "text in UTF-8 with the same values in every row"
        raise Refusal(f"{path}: not a CSV file in UTF-8 ({error}); expected {expected}") from None
    names = numbered[0][1] if numbered else []
    head = [name.strip() for name in names]
    rows = numbered[1:]
    if len(head) == 1 and re.search(r"[;\t]", head[0]):
        raise Refusal(f"{path}: {head[0]!r} in the first line; expected names between commas")
    again = [name for name, count in Counter(head).items() if count > 1]
    if again:
        raise Refusal(f"{path}: {again[0]}: given twice; expected one column of each name")
    for line, row in rows:
        if len(row) != len(head):
            where = f"{path}: line {line}: cells"
            raise Refusal(f"{where}: invalid number {len(row)}; expected {len(head)}")
    return pd.DataFrame([row for _, row in rows], columns=head, dtype=str)


def read_score_files(pattern: str, score: str, arm: str, seed: str) -> pd.DataFrame:
    """Return the last score in each of many CSV files, as Lightning's `CSVLogger` writes them.

    The arm and the seed of a file are the parts of its path at `{arm}` and `{seed}` in the pattern;
    one that is not in the pattern is a key of the settings of the run: `hparams.yaml` or
    `.hydra/config.yaml`, in the folder of the file or the nearest one above it.

    Args:
        pattern: The paths, with `*` for a part of a name, `**` for any folders, `{arm}` and
            `{seed}` for a part of a name.
        score: The column whose last cell that is not empty counts.
        arm: The key of the arm in the settings, such as `model.dropout`.
        seed: That of the seed.

    Returns:
        The columns arm, seed, the score and file, as texts.

    Raises:
        Refusal: No file matches, or one has no such column or no settings with the key.
    """
    files = _matching(pattern)
    if not files:
        raise Refusal(f"--glob {pattern}: no file matches; expected CSV files, such as metrics.csv")
    keys = {"arm": arm, "seed": seed}
    rows = []
    for path, parts in files:
        missing = [role for role in keys if role not in parts]
        values = {role: _setting(path, keys[role], role) for role in missing}
        rows.append({**parts, **values, score: _last(path, score), "file": str(path)})
    return pd.DataFrame(rows, columns=["arm", "seed", score, "file"])


def _matching(pattern: str) -> list[tuple[Path, dict[str, str]]]:
    """Return the files that match a pattern, sorted, with the texts at its placeholders."""
    root = Path(pattern).anchor or "."
    relative = str(Path(pattern).relative_to(root)) if root != "." else str(Path(pattern))
    expression = re.compile(_expression(relative))
    files = []
    for path in Path(root).glob(PLACEHOLDER.sub("*", relative)):
        match = expression.fullmatch(path.relative_to(root).as_posix())
        if match and path.is_file():
            files.append((path, match.groupdict()))
        if len(files) > MOST_FILES:
            raise Refusal(f"--glob {pattern}: more than {MOST_FILES} files; expected one per run")
    return sorted(files)


def _expression(pattern: str) -> str:
    """Return a pattern of paths as a regular expression."""
    named: set[str] = set()
    words = []
    for part in re.split(r"(\*\*/|\*|\{arm\}|\{seed\})", pattern):
        role = part.strip("{}")
        if part == "**/":
            words.append("(?:.*/)?")
        elif part == "*":
            words.append("[^/]*")
        elif PLACEHOLDER.fullmatch(part):
            words.append(f"(?P={role})" if role in named else f"(?P<{role}>[^/]+?)")
            named.add(role)
        else:
            words.append(re.escape(part))
    return "".join(words)


def _last(path: Path, score: str) -> str:
    """Return the last cell of a column that is not empty."""
    _require_file(path)
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines)
        columns = list(rows.fieldnames or ())
        if score not in columns:
            raise Refusal(unknown_name(f"{path}: --score", score, columns))
        last = ""
        for row in rows:
            last = row[score] or last
    return last


def _setting(path: Path, key: str, role: str) -> str:
    """Return a value of the settings of the run that wrote a file."""
    for file in _settings_files(path):
        value = _value(read_yaml(file), key)
        if value is not None:
            return str(value)
    raise Refusal(
        f"{path}: {role}: no key {key} in hparams.yaml or .hydra/config.yaml near it; "
        f"expected --{role} KEY, or {{{role}}} in the pattern"
    )


def _settings_files(path: Path) -> Iterator[Path]:
    """Yield the files of settings of a run, the nearest one first."""
    for folder in list(path.parents)[:LEVELS]:
        yield from (folder / name for name in SETTINGS if (folder / name).is_file())


def _value(settings: Mapping[str, Any], key: str) -> Any:
    """Return the value at a dotted key; None if there is none."""
    if key in settings:
        return settings[key]
    value: Any = settings
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _require_file(path: Path, content: str = "scores") -> None:
    if not path.is_file():
        what = "no file" if path.exists() else "missing"
        raise Refusal(f"{path}: {what}; expected a CSV file with {content}")
    size = path.stat().st_size
    if size > LARGEST:
        raise Refusal(
            f"{path}: {size / 1e6:,.0f} MB; expected <= {LARGEST / 1e6:.0f} MB: a row per run"
        )
