"""Read the scores by arm and seed from a table of any origin.

Three layouts are distinguished by their columns: *long*, a row per arm and seed; *wide*, a row per
seed and a column per arm; *paired*, a long table with the score of the reference in every row, such
as the `seeds.csv` of a report.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from pipeline.comparison.levels import PRIMARY
from pipeline.comparison.other_images import Hits
from pipeline.config.plan import BASELINE
from pipeline.config.validation import suggestion, unknown_name
from pipeline.runtime.errors import Refusal

PAIRS = (
    *("arm", "reference", "seed", "reference_score", "score", "paired"),
    *("reference_cost", "cost", "reference_fingerprint", "fingerprint"),
    *("reference_diverged", "diverged"),
)
RUN = ("arm", "seed")  # what a row is of
HITS = ("image", "correct")  # beside arm and seed, of a table of test examples
NOTHING = ("", "nan", "na", "n/a", "none", "null", "<na>")  # cells without a value, in lower case
TRUTH = {"true": True, "1": True, "false": False, "0": False}
CHART = re.compile(r".* - .*__(MIN|MAX)")  # columns of a chart that W&B exports
RUNS_TABLE = "the table of runs with --arm, --seed and --score, or --wandb entity/project"
WIDE = "; or use --wide, if each column is an arm"
LONG = "or, of a table with a row per run, its columns as --arm, --seed and --score"
INDEX = re.compile(r"(Unnamed: \d+)?")  # names that pandas gives the column of an index
SHOWN = 8  # names that an error lists
MOST_LINES = 5  # for one kind of error in a table
LARGEST = 1e100  # absolute value, whose square is finite
ROLES = {  # what a user can name -> what is expected
    **dict.fromkeys(("arm", "seed", "score"), "the name of a column"),
    "against": "the name of an arm",
}


@dataclass(frozen=True)
class Names:
    """The names of the columns of a table; None stands for the usual names.

    Attributes:
        arm: The column of arms.
        seed: The column of seeds.
        score: The column of scores.
        against: The arm that all others are compared with.
        wide: Whether there is a column per arm, whatever the names say.
        keep_going: Whether to leave out runs without a score.
    """

    arm: str | None = None
    seed: str | None = None
    score: str | None = None
    against: str | None = None
    wide: bool = False
    keep_going: bool = False


@dataclass(frozen=True)
class Scores:
    """The scores that are compared.

    Attributes:
        title: The name of the score.
        pairs: A row per arm and seed, with the columns `PAIRS`; `paired` is whether both scores are
            there. Costs that are unknown are NaN, unknown runs an empty text. A run that diverged
            has no score.
        left: How many seeds of its reference an arm has no score at, by arm.
        constants: Values that every row of the table shares: `direction` and `n_test`, where given.
        rows_are_seeds: Whether no column has seeds, so that each row was taken for one.
    """

    title: str
    pairs: pd.DataFrame
    left: Mapping[str, int]
    constants: Mapping[str, str]
    rows_are_seeds: bool = False


def table_of(content: Any, source: str) -> pd.DataFrame:
    """Return a data frame, or columns by name, as a table.

    Args:
        content: What a user gives as a table.
        source: What errors call it.

    Raises:
        Refusal: It is something else, such as a path, or its columns have different lengths.
    """
    if isinstance(content, pd.DataFrame):
        return content
    if not isinstance(content, Mapping):
        raise Refusal(
            f"{source}: invalid value {content!r:.80}; expected a data frame, such as "
            "pandas.read_csv gives, or columns by name"
        )
    try:
        return pd.DataFrame(content)
    except ValueError as error:
        raise Refusal(f"{source}: {error}; expected columns of one length") from None


def read_scores(table: pd.DataFrame, names: Names, source: str) -> Scores:
    """Return the scores in a table.

    Args:
        table: The table, of texts or of numbers.
        names: The names of its columns.
        source: What errors call the table.

    Raises:
        Refusal: A column or the reference is missing, a score is no number, an arm has two scores
            at one seed, or there are not two arms.
    """
    reader = _Reader(table.rename(columns=str).reset_index(drop=True), names, source)
    reader.require_names()
    if table.empty:
        raise reader.error("no rows", "a row per arm and seed")
    charts = [name for name in reader.table if CHART.fullmatch(name)]
    if charts:
        raise reader.error(f"{charts[0]!r} is of a chart of W&B", RUNS_TABLE)
    if not reader.is_wide:
        score = reader.score_column()
        other = f"reference_{score}"
        if other in reader.table:
            return reader.paired(score, other)
        return reader.long(score)
    return reader.wide()


def read_hits(table: pd.DataFrame, names: Names, source: str) -> dict[tuple[str, str], Hits]:
    """Return which test examples each run classifies correctly, by arm and seed.

    Args:
        table: A row per run and example: the columns of arms and seeds, `image`, which is a name or
            a number of the example, and `correct`, true or false.
        names: The names of the columns of arms and seeds.
        source: What errors call the table.

    Raises:
        Refusal: A column is missing, a cell is wrong, or runs have other examples than others.
    """
    reader = _Reader(table.rename(columns=str).reset_index(drop=True), names, source)
    missing = [name for name in HITS if name not in reader.table]
    missing += [reader.wanted(role) for role in RUN if reader.named_column(role) is None]
    if missing:
        columns = *map(reader.wanted, RUN), *HITS
        raise reader.error(f"no column {missing[0]}", f"the columns {', '.join(columns)}")
    if table.empty:
        raise reader.error("no rows", "a row per run and test example")
    rows = pd.DataFrame(
        {
            "arm": reader.study_labels(),
            "seed": reader.seeds(reader.column("seed")),
            "image": reader.labels("image"),
            "correct": reader.truths("correct"),
        }
    )
    again = rows.duplicated(["arm", "seed", "image"])
    if again.any():
        row = int(again.idxmax())
        arm, seed, image, _ = rows.loc[row]
        raise reader.error(
            f"{reader.line(row)}: a second row of arm {arm!r} at seed {seed}, image {image}",
            "one per run and image",
        )
    hits = rows.pivot(index="image", columns=["arm", "seed"], values="correct")
    counts = hits.notna().sum()
    few = counts.index[counts < len(hits)]
    if len(few):
        arm, seed = few[0]
        raise reader.error(
            f"arm {arm!r}, seed {seed}: {counts[few[0]]} of {len(hits)} images",
            "the same images for every run",
        )
    return {(str(arm), str(seed)): hits[arm, seed].to_numpy(np.int8) for arm, seed in hits}


class _Reader:
    """Reads one table; every error names the table, the row and the column."""

    def __init__(self, table: pd.DataFrame, names: Names, source: str):
        self.table, self.names, self.source = table, names, source

    def error(self, what: str, expected: str) -> Refusal:
        return Refusal(f"{self.source}: {what}; expected {expected}")

    def errors(self, what: Sequence[str], expected: str) -> Refusal:
        """Return an error with a line for each mistake, up to `MOST_LINES`."""
        lines = [f"{self.source}: {one}; expected {expected}" for one in what[:MOST_LINES]]
        if len(what) > MOST_LINES:
            lines.append(f"{self.source}: {len(what) - MOST_LINES} more such errors")
        return Refusal(*lines)

    @staticmethod
    def line(row: int) -> str:
        """Return the place of a row in a file whose first line has the names of columns."""
        return f"line {row + 2}"

    def require_names(self) -> None:
        """Check that no name is an empty text."""
        for role in ROLES:
            if getattr(self.names, role) == "":
                raise Refusal(f"--{role}: invalid value ''; expected {ROLES[role]}")

    @property
    def is_wide(self) -> bool:
        """Return whether the table has a column per arm.

        Without `wide`, a table has the long layout if a column of arms or scores is named or found.
        """
        unnamed = self.names.arm is None and self.names.score is None
        named = self.named_column("arm") or self.named_column("score")
        return self.names.wide or (unnamed and named is None)

    def wanted(self, role: str) -> str:
        """Return the given name of the column of a role, or its usual name."""
        return getattr(self.names, role) or role

    def named_column(self, role: str) -> str | None:
        """Return the column of a role, by its given or usual name; None if there is none."""
        wanted = self.wanted(role)
        if wanted in self.table:
            return str(wanted)
        alike = [name for name in self.table if name.casefold() == wanted.casefold()]
        return alike[0] if len(alike) == 1 else None

    def column(self, role: str) -> str:
        """Return the column of a role.

        Raises:
            Refusal: There is none.
        """
        name = self.named_column(role)
        if name is not None:
            return name
        columns, wanted = list(self.table.columns), self.wanted(role)
        near = suggestion(wanted, columns)
        more = WIDE if role == "score" and not near else ""
        if getattr(self.names, role):
            raise Refusal(unknown_name(f"--{role}", wanted, columns) + more)
        raise self.error(f"no column {role}", f"--{role} one of {_listed(columns)}{more}{near}")

    def score_column(self) -> str:
        name = self.named_column("score")
        if name is None and self.names.score is None and PRIMARY in self.table:
            return PRIMARY
        return name or self.column("score")

    def wide(self) -> Scores:
        seed = self.named_column("seed") if self.names.seed is None else self.column("seed")
        arms = [name for name in self.table if name != seed and not INDEX.fullmatch(name)]
        if not arms:
            raise self.error("no column of an arm", "a column per arm and a row per seed")
        references = dict.fromkeys(arms, self.reference(arms))
        seeds = self.seeds(seed) if seed else [str(row + 1) for row in self.table.index]
        parts = [
            pd.DataFrame({"arm": arm, "seed": seeds, "score": self.numbers(arm)}) for arm in arms
        ]
        rows = pd.concat(parts, ignore_index=True)
        places = [f"{self.line(row)}: {arm}" for arm in arms for row in self.table.index]
        scores = self.matched(self.names.score or "score", rows, places, references, {})
        return replace(scores, rows_are_seeds=seed is None)

    def long(self, score: str) -> Scores:
        rows = pd.DataFrame(
            {
                "arm": self.labels(self.column("arm")),
                "seed": self.seeds(self.column("seed")),
                "score": self.numbers(score),
                "cost": self.costs("cost"),
                "fingerprint": self.runs("fingerprint"),
                "diverged": self.diverged("diverged"),
            }
        )
        rows["score"] = rows["score"].mask(rows["diverged"])
        places = [f"{self.line(row)}: {score}" for row in rows.index]
        if "file" in self.table:  # each row is from a file of its own
            places = [f"{file}: {score}" for file in self.table["file"]]
        arms = list(dict.fromkeys(rows["arm"]))
        if "reference" in self.table:
            references = self.given_references(rows["arm"])
        else:
            references = dict.fromkeys(arms, self.reference(arms))
        return self.matched(score, rows, places, references, self.constants())

    def matched(
        self,
        score: str,
        rows: pd.DataFrame,
        places: Sequence[str],
        references: Mapping[str, str],
        constants: Mapping[str, str],
    ) -> Scores:
        """Return the pairs of a row per arm and seed with the row of the reference at that seed."""
        self.require_once(rows, places)
        if "diverged" not in rows:
            rows = rows.assign(diverged=False)
        self.require_scores(rows["score"], ~rows["diverged"].to_numpy(bool), places)
        if all(references[arm] == arm for arm in references):
            raise self.error(f"one arm ({_listed(references)})", "at least two, one as reference")
        rows = rows.reindex(columns=["arm", "seed", "score", "cost", "fingerprint", "diverged"])
        ended = rows["score"].notna() | rows["diverged"]
        there = rows[ended].set_index(["arm", "seed"])
        pairs = rows[[references[arm] != arm for arm in rows["arm"]]].reset_index(drop=True)
        pairs["reference"] = pairs["arm"].map(references)
        others = there.reindex(pd.MultiIndex.from_frame(pairs[["reference", "seed"]]))
        for name in ("score", "cost", "fingerprint"):
            pairs[f"reference_{name}"] = others[name].to_numpy()
        pairs["reference_diverged"] = others["diverged"].eq(True).to_numpy()
        pairs["paired"] = pairs[["score", "reference_score"]].notna().all(axis=1)
        seeds = there.reset_index().groupby("arm")["seed"].agg(set).to_dict()
        left = {
            arm: len(seeds.get(references[arm], set()) - seeds.get(arm, set()))
            for arm in dict.fromkeys(pairs["arm"])
        }
        return Scores(score, _with_all_columns(pairs), left, constants)

    def paired(self, score: str, other: str) -> Scores:
        if self.names.against:
            raise Refusal(f"--against: not allowed with a column {other}; expected one of both")
        rows = pd.DataFrame(
            {
                "arm": self.study_labels(),
                "seed": self.seeds(self.column("seed")),
                "reference_score": self.numbers(other),
                "score": self.numbers(score),
                "fingerprint": self.runs("fingerprint"),
                "reference_fingerprint": self.runs("reference_fingerprint"),
                "cost": self.costs("cost"),
                "reference_cost": self.costs("reference_cost"),
                "diverged": self.diverged("diverged"),
                "reference_diverged": self.diverged("reference_diverged"),
            }
        )
        for side in ("", "reference_"):
            rows[f"{side}score"] = rows[f"{side}score"].mask(rows[f"{side}diverged"])
        self.require_once(rows, [f"{self.line(row)}: {score}" for row in rows.index])
        given = "reference" in self.table
        rows["reference"] = self.labels("reference") if given else BASELINE
        lost = rows[["diverged", "reference_diverged"]].to_numpy(bool).any(axis=1)
        given_pairs = "paired" in self.table
        counted = ~lost & (self.truths("paired") if given_pairs else np.ones(len(rows), bool))
        for name, column in (("score", score), ("reference_score", other)):
            places = [f"{self.line(row)}: {column}" for row in rows.index]
            self.require_scores(rows[name], counted, places)
        rows["paired"] = counted & rows[["score", "reference_score"]].notna().all(axis=1)
        is_left = counted & rows["score"].isna() & rows["reference_score"].notna()
        left = {arm: int(is_left[rows["arm"] == arm].sum()) for arm in dict.fromkeys(rows["arm"])}
        return Scores(score, _with_all_columns(rows), left, self.constants())

    def study_labels(self) -> list[str]:
        """Return the names of arms, with the study added if several studies have the name."""
        arms = self.labels(self.column("arm"))
        if "study" not in self.table:
            return arms
        studies = self.labels("study")
        counts = Counter(arm for arm, _ in dict.fromkeys(zip(arms, studies, strict=True)))
        return [
            f"{arm} of {study}" if counts[arm] > 1 else arm
            for arm, study in zip(arms, studies, strict=True)
        ]

    def reference(self, arms: Sequence[str]) -> str:
        """Return the arm that all others are compared with."""
        wanted = self.names.against or BASELINE
        if wanted in arms:
            return wanted
        if self.names.against:
            raise Refusal(unknown_name("--against", wanted, set(arms)))
        listed = _listed(arms)
        rows = "" if self.names.wide or not self.is_wide else f"; {LONG}"
        raise self.error(f"no arm is named {BASELINE}", f"--against one of {listed}{rows}")

    def given_references(self, arms: pd.Series) -> dict[str, str]:
        """Return the reference of every arm as the column `reference` gives it."""
        if self.names.against:
            raise Refusal("--against: not allowed with a column reference; expected one of both")
        cells = self.table["reference"].map(_text)
        given = [arm if _is_nothing(cell) else cell for arm, cell in zip(arms, cells, strict=True)]
        references: dict[str, str] = {}
        for row, (arm, reference) in enumerate(zip(arms, given, strict=True)):
            if references.setdefault(arm, reference) != reference:
                raise self.error(
                    f"{self.line(row)}: reference: {reference!r} for arm {arm!r}",
                    f"{references[arm]!r} as in earlier rows",
                )
            if reference not in set(arms):
                raise self.error(
                    f"{self.line(row)}: reference: no arm {reference!r}",
                    f"one of {_listed(set(arms))}",
                )
        for arm, reference in references.items():
            if reference != arm and references[reference] == arm:  # one comparison, twice
                raise self.error(
                    f"reference: {arm!r} and {reference!r} are compared with each other",
                    "an empty cell for one of them",
                )
        return references

    def constants(self) -> dict[str, str]:
        """Return the values of the columns that are the same in every row."""
        by_column = {}
        for name in ("direction", "n_test"):
            if name in self.table:
                values = list(dict.fromkeys(self.table[name].map(_text)))
                if len(values) > 1:
                    raise self.error(f"{name}: {_listed(values)}", "one value in all rows")
                by_column[name] = values[0]
        return by_column

    def labels(self, column: str) -> list[str]:
        """Return a column of names as text."""
        texts = [_text(cell) for cell in self.table[column]]
        empty = [row for row, text in enumerate(texts) if _is_nothing(text)]
        if empty:
            cells = [f"{self.line(row)}: {column}: empty" for row in empty]
            raise self.errors(cells, "a name or a number")
        hidden = [row for row, text in enumerate(texts) if not text.isprintable()]
        if hidden:
            cells = [f"{self.line(row)}: {column}: invalid name {texts[row]!r}" for row in hidden]
            raise self.errors(cells, "printable characters")
        return texts

    def seeds(self, column: str) -> list[str]:
        """Return a column of seeds as text: 3.0, as pandas writes it, is 3."""
        return [re.sub(r"^(-?\d+)\.0+$", r"\1", text) for text in self.labels(column)]

    def numbers(self, column: str) -> pd.Series:
        """Return a column of numbers to `LARGEST`; NaN if there is no value or infinity."""
        texts = self.table[column].map(_text)
        texts = texts.mask(texts.map(_is_nothing))
        numbers = pd.to_numeric(texts, errors="coerce").astype(float)
        wrong = numbers.isna() & texts.notna()
        too_large = numbers.abs().gt(LARGEST) & np.isfinite(numbers)
        for mask, expected in (
            (wrong, "a number such as 0.913"),
            (too_large, f"a number between {-LARGEST:g} and {LARGEST:g}"),
        ):
            if mask.any():
                cells = [
                    f"{self.line(row)}: {column}: invalid value {texts[row]!r}"
                    for row in np.flatnonzero(mask).tolist()
                ]
                raise self.errors(cells, expected)
        return numbers.where(np.isfinite(numbers))

    def costs(self, column: str) -> Any:
        """Return a column of costs; NaN if it is unknown."""
        if column not in self.table:
            return np.nan
        costs = self.numbers(column)
        wrong = costs <= 0
        if wrong.any():
            cells = [
                f"{self.line(row)}: {column}: invalid value {costs[row]:g}"
                for row in np.flatnonzero(wrong).tolist()
            ]
            raise self.errors(cells, "a number > 0")
        return costs

    def runs(self, column: str) -> Any:
        return self.table[column].map(_text) if column in self.table else ""

    def diverged(self, column: str) -> np.ndarray:
        """Return whether each run diverged; False for an empty cell, or without a column."""
        if column not in self.table:
            return np.zeros(len(self.table), bool)
        return self.truths(column, TRUTH | dict.fromkeys(NOTHING, False))

    def truths(self, column: str, words: Mapping[str, bool] = TRUTH) -> np.ndarray:
        """Return a column of true and false."""
        texts = [_text(cell) for cell in self.table[column]]
        cells = [
            f"{self.line(row)}: {column}: invalid value {text!r}"
            for row, text in enumerate(texts)
            if text.lower() not in words
        ]
        if cells:
            raise self.errors(cells, "True or False")
        return np.array([words[text.lower()] for text in texts], dtype=bool)

    def require_once(self, rows: pd.DataFrame, places: Sequence[str]) -> None:
        """Check that no arm has two scores at one seed."""
        again = np.flatnonzero(rows.duplicated(["arm", "seed"])).tolist()
        if again:
            cells = [
                f"{places[row]}: a second score of arm {rows['arm'].iloc[row]!r} "
                f"at seed {rows['seed'].iloc[row]}"
                for row in again
            ]
            raise self.errors(cells, "one per arm and seed")

    def require_scores(self, scores: pd.Series, counted: np.ndarray, places: Sequence[str]) -> None:
        """Check that the rows that count have a score."""
        empty = [place for place, lost in zip(places, scores.isna() & counted, strict=True) if lost]
        if empty and not self.names.keep_going:
            more = f" (and {len(empty) - 1} more)" if len(empty) > 1 else ""
            raise self.error(
                f"{empty[0]}: no finite score{more}",
                "a number, true in a column diverged, or --keep-going to judge without these runs",
            )


def _with_all_columns(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the columns `PAIRS`, with empty texts for unknown runs."""
    table = rows.reindex(columns=list(PAIRS))
    runs = table[["reference_fingerprint", "fingerprint"]].astype(object)
    named = {name: runs[name].where(runs[name].notna(), "") for name in runs}
    truths = {name: table[name].eq(True) for name in ("reference_diverged", "diverged")}
    return table.assign(**named, **truths)


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell).strip()


def _is_nothing(text: str) -> bool:
    return text.lower() in NOTHING


def _listed(names: Any) -> str:
    """Return the first names as prose."""
    texts = sorted(map(str, names)) if isinstance(names, set) else list(map(str, names))
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more
