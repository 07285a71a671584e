"""Define the arms of a study: every setting they try, with its regularizers and its protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final, get_args

from pipeline import regularizers
from pipeline.config.plan import BASELINE, PROTOCOL, Dimension, Factor, Setting
from pipeline.config.schema import Design
from pipeline.config.test_rules import TestRule
from pipeline.config.validation import Origin, place_of
from pipeline.planning.protocols import Protocol, apply_factors, is_replaced
from pipeline.planning.resolution import override_protocol, read_named
from pipeline.planning.searches import FinishedTrial, ProposedTrial, Search, propose
from pipeline.planning.spaces import Space, grid
from pipeline.regularizers._regularizer import Regularizer
from pipeline.runtime.errors import Refusal


@final
@dataclass(frozen=True)
class ArmPlaces(Origin):
    """Where the values of an arm are in its file.

    Attributes:
        path: The file.
        arm: The key of the arm in the file, such as arms.dropout.
        items: The key of each regularizer in the file, such as arms.dropout.0.
        changes: The key of each changed value of the protocol in the file, by its dotted key in the
            protocol.
    """

    path: Path
    arm: str
    items: dict[str, str] = field(default_factory=dict)
    changes: dict[str, str] = field(default_factory=dict)

    def place(self, key: str) -> str:
        """Return the file and the place of a value of the protocol, which the arm may change.

        Args:
            key: The dotted key of the value; "" for all values.
        """
        for changed, place in self.changes.items():
            if is_replaced(key, [changed]):
                return place_of(self.path, place + key.removeprefix(changed))
        return f"{place_of(self.path, self.arm)}: {key}" if key else place_of(self.path, self.arm)

    def of(self, part: str, key: str) -> str:
        """Return the file and the place of a value of a setting.

        Args:
            part: A regularizer, or `protocol`.
            key: The key of the value.
        """
        return self.place(key) if part == PROTOCOL else f"{self.path}: {self.items[part]}.{key}"


@dataclass(frozen=True)
class ArmDefinition:
    """The content of the file of an arm, from which all its settings are made.

    Attributes:
        fixed: The values by regularizer, those of the protocol under `protocol`; None for a value
            that is searched.
        spaces: The values that are searched, by part of a setting and key.
        nuisance: Those of `spaces` that the arm tunes again, as the protocol does for the baseline.
        search: How all spaces are searched at once, None for a grid.
        protocol: The protocol that the study runs under.
        places: Where its values are in that file.
    """

    fixed: Setting
    spaces: Mapping[tuple[str, str], Space]
    nuisance: frozenset[str]
    search: Search | None
    protocol: Protocol
    places: "ArmPlaces"

    def proposals(self, finished: Sequence[FinishedTrial] = ()) -> list[ProposedTrial]:
        """Return the trials of the first round, or of the round after the finished trials.

        Their values are in the order of `spaces`. There are none after the last round.

        Args:
            finished: The trials that have ended, with their scores.
        """
        if self.search and self.spaces:
            names = [f"{part}.{key}" for part, key in self.spaces]
            spaces = dict(zip(names, self.spaces.values(), strict=True))
            return propose(spaces, self.search, finished)
        return [] if finished else [ProposedTrial(row) for row in grid(list(self.spaces.values()))]

    def trial(self, values: Sequence[Any]) -> "Trial":
        """Return the setting with these values of `spaces`, resolved.

        Args:
            values: One for each of `spaces`, in order.

        Raises:
            Refusal: A value is invalid.
        """
        setting = {part: dict(items) for part, items in self.fixed.items()}
        for (part, key), value in zip(self.spaces, values, strict=True):
            setting[part][key] = value
        protocol = self.protocol
        if PROTOCOL in setting:
            setting[PROTOCOL] = apply_factors(setting[PROTOCOL], protocol, self.places)
            protocol = override_protocol(protocol, setting[PROTOCOL], self.places)
        classes = regularizers.settings()
        chosen = [
            read_named({"name": part, **items}, classes, self.places.path, self.places.items[part])
            for part, items in setting.items()
            if part != PROTOCOL
        ]
        return Trial(setting, tuple(chosen), protocol)

    def shortened(self, trial: "Trial", budget: float) -> "Trial":
        """Return a setting with a complete schedule over a share of its epochs, at least one.

        Args:
            trial: The setting.
            budget: The share of its epochs, in (0, 1].

        Raises:
            Refusal: A value of the setting needs more epochs.
        """
        if budget == 1:
            return trial
        epochs = max(round(trial.protocol.training.epochs * budget), 1)
        changes = {"training.epochs": epochs}
        protocol = override_protocol(trial.protocol, changes, self.places)
        return replace(trial, protocol=protocol)


@dataclass(frozen=True)
class Trial:
    """One setting of an arm, resolved.

    Attributes:
        setting: The values as written, by regularizer; changes of the protocol under `protocol`.
        regularizers: The checked regularizers of the setting, in order.
        protocol: The protocol that its runs train under, with the changes of the arm applied.
    """

    setting: Setting
    regularizers: tuple[Regularizer, ...]
    protocol: Protocol


@dataclass(frozen=True)
class Arm:
    """An arm of a study with every setting that it tries.

    Attributes:
        name: Its name in the study's file.
        factor: What it changes against the arm named by `against`.
        against: The name of the arm that it is compared with.
        rule: The rule by which it is averaged at test, the same for all its settings.
        trials: Its settings, in the order of the file; of a search in rounds, those of the first.
        definition: What its file says.
    """

    name: str
    factor: Factor
    against: str
    rule: TestRule
    trials: tuple[Trial, ...]
    definition: ArmDefinition

    @property
    def most_settings(self) -> int:
        """Return the number of settings before any widening, including later rounds."""
        search = self.definition.search
        return search.trials if search and search.is_adaptive else len(self.trials)

    @property
    def is_searched(self) -> bool:
        """Return whether the arm tries several settings, in one round or in several."""
        return self.most_settings > 1

    @property
    def has_own_space(self) -> bool:
        """Return whether the arm searches other values than nuisance values."""
        keys = [key for (_, key), space in self.definition.spaces.items() if len(space.values) != 1]
        return not self.definition.nuisance.issuperset(keys)

    @property
    def design(self) -> Design | None:
        """Return the method that drew its settings; None for a grid and for rounds of trials."""
        search = self.definition.search
        methods: tuple[Design, ...] = get_args(Design)
        return next((one for one in methods if search and search.method == one), None)

    def trial_of(self, setting: Setting) -> Trial:
        """Return the trial of a setting that the arm has tried, also after widening.

        Args:
            setting: The values by part and key.

        Raises:
            KeyError: The setting lacks a value that the arm searches.
            Refusal: The arm cannot have this setting.
        """
        for (part, key), space in self.definition.spaces.items():
            if space.scale is None and setting[part][key] not in self._listed(part, key):
                raise Refusal(f"{self.name}: {part}.{key}: not in its list")
        trial = self.definition.trial([setting[part][key] for part, key in self.definition.spaces])
        if trial.setting != setting:
            raise Refusal(f"{self.name}: a value that is not searched differs")
        return trial

    def _listed(self, part: str, key: str) -> list[Any]:
        """Return the values of a list in the form that settings have."""
        values = list(self.definition.spaces[part, key].values)
        if part != PROTOCOL:
            return values
        protocol = self.definition.protocol
        return [
            apply_factors({key: value}, protocol, self.definition.places)[key] for value in values
        ]


def baseline(protocol: Protocol) -> Arm:
    """Return the arm without regularizers, which every study has.

    Args:
        protocol: The protocol, with tuned values where there are any.
    """
    definition = ArmDefinition({}, {}, frozenset(), None, protocol, ArmPlaces(Path(), ""))
    return Arm(
        BASELINE,
        Factor(),
        BASELINE,
        regularizers.test_rule(()),
        (definition.trial(()),),
        definition,
    )


def searched_values(arm: Arm) -> tuple[Dimension, ...]:
    """Return the searched values of an arm, with their ranges for random designs.

    Args:
        arm: The arm.
    """
    return tuple(
        Dimension(
            part=part,
            key=key,
            scale=space.scale,
            low=space.low if arm.design and space.scale else None,
            high=space.high if arm.design and space.scale else None,
        )
        for (part, key), space in arm.definition.spaces.items()
        if len(space.values) != 1
    )


def relative(arm: Arm, arms: Sequence[Arm]) -> Arm:
    """Return the arm with the factor in which it differs from its reference.

    Args:
        arm: The arm, its factor against the baseline.
        arms: All arms of the study, the reference among them.
    """
    if arm.against == BASELINE:
        return arm
    other = next(one.factor for one in arms if one.name == arm.against)
    added = tuple(name for name in arm.factor.regularizers if name not in other.regularizers)
    changed = {
        key: value
        for key, value in arm.factor.protocol.items()
        if (key, value) not in other.protocol.items()
    }
    return replace(arm, factor=Factor(regularizers=added, protocol=changed))
