"""Plan exploration in rounds: tune the baseline, explore the arms, widen spaces.

The plan is a pure function of the scores of finished runs. Round 1 tries the nuisance values of the
baseline; where the best one is at the end of its space, further rounds widen it. Before a
widening stops at a value next to the end, it and both its neighbours are tried on further seeds.
Then every arm is explored at the best values, and its spaces are widened in the same way.
Successive halving has one planning round per rung, and does not widen its space.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import nan
from typing import Any

import annotated_types
import numpy as np

from pipeline import regularizers
from pipeline.config.plan import (
    BASELINE,
    NOTHING,
    PROTOCOL,
    Added,
    Dimension,
    Plan,
    PlannedRun,
    PlannedStudy,
)
from pipeline.config.settings import Settings
from pipeline.config.validation import choices, constraints
from pipeline.planning.arm_mistakes import network_key
from pipeline.planning.arms import Arm, Trial, searched_values
from pipeline.planning.choice import Score, ScoredSetting, at_edge, best, collapsed
from pipeline.planning.phases import Identities, describe_study, plan_of, planned_runs
from pipeline.planning.resolution import section_class
from pipeline.planning.searches import FinishedTrial, ProposedTrial, rounds
from pipeline.planning.spaces import Space, size
from pipeline.planning.starts import Digests, IdentifiedRun
from pipeline.planning.studies import Experiment, Study, tuning_study
from pipeline.runtime.errors import Refusal

HALVINGS = 3  # halvings of a step, at most
PARTS = 4  # parts of a step, between which further values are searched
REPEATS = 3  # further seeds of the last values of a space before its widening stops

Read = Callable[[Mapping[str, Any]], Experiment]  # tuned values -> the experiment
Scores = Mapping[str, Score]  # by fingerprint


@dataclass(frozen=True)
class Exploration:
    """The rounds planned so far.

    Attributes:
        plan: All their runs.
        identities: The identity of each run by fingerprint.
        most_added: The runs that further rounds may add.
    """

    plan: Plan
    identities: Identities
    most_added: Added


def explore(
    read: Read,
    data_digest: str,
    scores: Scores,
    ahead: bool = False,
    pool_digests: Mapping[str, str] | None = None,
) -> Exploration:
    """Plan every round whose runs follow from the scores.

    Args:
        read: Reads the experiment with tuned values of its protocol.
        data_digest: The digest of the prepared data.
        scores: Those of the runs that have ended.
        ahead: Also plan the arms where the baseline is not tuned yet, at the protocol's values.
        pool_digests: The digests of the data of its pretrainings, by name.

    Raises:
        Refusal: A file of settings is invalid under the tuned values, as `read` finds.
    """
    experiment = read({})
    rounds = _Rounds(experiment, Digests(data_digest, pool_digests or {}), scores)
    if experiment.tuning is None:
        rounds.explore_arms(experiment, 1)
        return rounds.result(experiment)
    study = tuning_study(experiment.tuning)
    searched = rounds.search(study, experiment.tuning, 1)
    rounds.describe(study, {BASELINE: searched})
    if searched.chosen is not None:
        experiment = read(searched.chosen[PROTOCOL])
    if not searched.waits or ahead:
        rounds.explore_arms(experiment, searched.last_round + 1)
    return rounds.result(experiment)


@dataclass
class _Searched:
    """An arm after all rounds that its scores allow."""

    arm: Arm
    trials: tuple[Trial, ...]
    last_round: int
    waits: bool
    chosen: dict[str, dict[str, Any]] | None


@dataclass(eq=False)
class _Planned:
    """A trial with the fingerprints of its runs.

    A trial with a short schedule is not a candidate of the choice.
    """

    trial: Trial
    proposal: ProposedTrial
    names: list[str] = field(default_factory=list)

    @property
    def is_candidate(self) -> bool:
        return self.proposal.budget == 1


Ended = Mapping[_Planned, ScoredSetting]  # trials whose runs have all ended


@dataclass
class _ArmRounds:
    """The rounds of one arm so far.

    Attributes:
        arm: The arm, with its spaces as they are now.
        planned: Its trials.
        skipped: Proposals that are not trials, because their values are invalid together.
        is_repeated: Whether the last values of its spaces have been looked at for further seeds.
    """

    arm: Arm
    planned: list[_Planned] = field(default_factory=list)
    skipped: list[FinishedTrial] = field(default_factory=list)
    is_repeated: bool = False

    @property
    def trials(self) -> tuple[Trial, ...]:
        return tuple(item.trial for item in self.planned)

    def first_trials(self) -> list[_Planned]:
        """Return the trials of the first round."""
        proposals = self.arm.definition.proposals()
        return [_Planned(*pair) for pair in zip(self.arm.trials, proposals, strict=True)]

    def next_trials(self, ended: Ended) -> list[_Planned]:
        """Return the trials of the next round of a search or widening; empty after the last."""
        if self.arm.definition.search is not None:
            return _next_trials(self.arm, ended, self.skipped)
        self.arm, trials = _widened(self.arm, self.trials, _candidates(ended))
        return trials

    def last_trials(self, ended: Ended) -> list[_Planned]:
        """Return the trials to repeat before a widening stops; empty at the second call."""
        if self.is_repeated:
            return []
        self.is_repeated = True
        settings = _last_values(self.arm, self.trials, _candidates(ended))
        return [item for item in self.planned if item.trial.setting in settings]


@dataclass
class _Rounds:
    experiment: Experiment
    digests: Digests
    scores: Scores
    planned: list[tuple[PlannedRun, IdentifiedRun]] = field(default_factory=list)
    studies: list[PlannedStudy] = field(default_factory=list)
    most_added: Added = NOTHING

    @property
    def seeds(self) -> range:
        """The exploration seeds."""
        return range(self.experiment.protocol.seeds.exploration)

    @property
    def further_seeds(self) -> range:
        """The seeds after them, on which the last values of a space are tried."""
        return range(len(self.seeds), len(self.seeds) + REPEATS)

    def explore_arms(self, experiment: Experiment, first: int) -> None:
        """Plan every arm with several settings, its reference, and the baseline of its study."""
        for study in experiment.studies:
            if study.kind != "comparison":
                continue
            references = {arm.against for arm in study.arms if arm.is_searched}
            if references:
                references.add(BASELINE)
            explored = [arm for arm in study.arms if arm.is_searched or arm.name in references]
            searched = {arm.name: self.search(study, arm, first) for arm in explored}
            self.describe(study, searched)

    def search(self, study: Study, arm: Arm, first: int) -> _Searched:
        """Plan the settings of an arm, and further rounds as far as scores are known.

        Args:
            study: The study of the arm.
            arm: The arm.
            first: The number of its first round.
        """
        state = _ArmRounds(arm)
        trials, seeds, number = state.first_trials(), self.seeds, first
        while True:
            self.plan_round(study, state, trials, seeds, number)
            ended = self.ended(state.planned)
            if len(ended) < len(state.planned):
                self.most_added += self.may_add(state)
                return _Searched(state.arm, state.trials, number, waits=True, chosen=None)

            trials, seeds = state.next_trials(ended), self.seeds
            if not trials:
                trials, seeds = state.last_trials(ended), self.further_seeds
            if not trials:
                chosen = _best_setting(state.arm, _candidates(ended))
                return _Searched(state.arm, state.trials, number, waits=False, chosen=chosen)
            number += 1

    def ended(self, planned: Sequence[_Planned]) -> Ended:
        """Return the trials whose runs have all ended, with their scores."""
        scored = {item: self.scored_setting(item) for item in planned}
        return {item: setting for item, setting in scored.items() if setting is not None}

    def plan_round(
        self, study: Study, state: _ArmRounds, trials: Sequence[_Planned], seeds: range, number: int
    ) -> None:
        """Plan the runs of a round: trials of an arm, each on all these seeds."""
        for item in trials:
            self.plan_trial(study, state.arm, item, seeds, number)
            if item not in state.planned:
                state.planned.append(item)

    def plan_trial(self, study: Study, arm: Arm, item: _Planned, seeds: range, number: int) -> None:
        """Plan the runs of a trial on these seeds, in a round."""
        budget = item.proposal.budget
        trial = arm.definition.shortened(item.trial, budget)
        runs = planned_runs(study, arm, trial, seeds, self.digests, round=number, budget=budget)
        for run, described in runs:
            self.planned.append((run, described))
            item.names.append(run.fingerprint)

    def scored_setting(self, item: _Planned) -> ScoredSetting | None:
        """Return a trial with its scores; None until all of its runs have ended."""
        scores = [self.scores.get(name) for name in item.names]
        ended = tuple(score for score in scores if score is not None)
        return ScoredSetting(item.trial.setting, ended) if len(ended) == len(scores) else None

    def may_add(self, state: _ArmRounds) -> Added:
        """Return the largest number of further runs of an arm."""
        seeds, search = len(self.seeds), state.arm.definition.search
        if search is None:
            repeats = 0 if state.is_repeated else _most_repeated(state.arm)
            return Added(_most_added(state.arm) * seeds + repeats)
        remaining = rounds(search)
        finished = 0
        while remaining and finished < len(state.planned):
            trials, _ = remaining.pop(0)
            finished += trials
        return Added(
            searching=seeds * sum(trials for trials, _ in remaining),
            trainings=seeds * sum(trials * budget for trials, budget in remaining),
        )

    def describe(self, study: Study, searched: Mapping[str, _Searched]) -> None:
        spaces = {name: dimensions(item.arm, item.trials) for name, item in searched.items()}
        self.studies.append(describe_study(study, self.seeds, spaces))

    def result(self, experiment: Experiment) -> Exploration:
        plan, identities = plan_of(
            experiment, "exploration", self.digests.data, tuple(self.studies), self.planned
        )
        return Exploration(plan, identities, self.most_added)


def dimensions(arm: Arm, trials: tuple[Trial, ...]) -> tuple[Dimension, ...]:
    """Return the values that an arm searches, as a plan holds them.

    Args:
        arm: The arm, with its spaces as they are now.
        trials: All its settings.

    Returns:
        A dimension for every space but those with a single value.
    """
    spaces = arm.definition.spaces  # the space of a design has no values of its own
    searched = [place for place, space in spaces.items() if len(space.values) != 1]
    return tuple(_dimension(arm, trials, place) for place in searched)


def _dimension(arm: Arm, trials: tuple[Trial, ...], place: tuple[str, str]) -> Dimension:
    """Return one value that an arm searches.

    A design has no step, so none of its ends is known.
    """
    part, key = place
    space = arm.definition.spaces[place]
    is_range = space.scale is not None
    is_grid = arm.definition.search is None
    is_lowest = is_grid and _next_value(arm, trials, place, -1) is None
    is_highest = is_grid and _next_value(arm, trials, place, 1) is None
    is_closed = is_grid and (not is_range or (is_lowest and is_highest))
    fills_range = is_range and not is_grid
    return Dimension(
        part=part,
        key=key,
        scale=space.scale,
        lowest=is_range and is_lowest,
        highest=is_range and is_highest,
        exhausted=is_closed and not _is_extendable(arm, trials, place),
        widened=space.widened,
        low=space.low if fills_range else None,
        high=space.high if fills_range else None,
    )


def _candidates(ended: Ended) -> list[ScoredSetting]:
    """Return the settings with scores among which the best is chosen."""
    return [setting for item, setting in ended.items() if item.is_candidate]


def _best_setting(arm: Arm, settings: list[ScoredSetting]) -> dict[str, dict[str, Any]] | None:
    number = best(settings, searched_values(arm))
    return None if number is None else settings[number].setting


def _next_trials(arm: Arm, ended: Ended, skipped: list[FinishedTrial]) -> list[_Planned]:
    """Return the trials of the next round of a search; empty if it has ended.

    A trial whose values are invalid together, or with its schedule, is added to `skipped`: it
    counts as a trial without a score.
    """
    finished = [_finished_trial(item.proposal, setting) for item, setting in ended.items()]
    while proposals := arm.definition.proposals([*finished, *skipped]):
        trials = []
        for proposal in proposals:
            try:
                trial = arm.definition.trial(proposal.values)
                arm.definition.shortened(trial, proposal.budget)
            except Refusal:
                skipped.append(FinishedTrial(proposal.values, proposal.budget, nan))
            else:
                trials.append(_Planned(trial, proposal))
        if trials:
            return trials
    return []


def _finished_trial(proposal: ProposedTrial, setting: ScoredSetting) -> FinishedTrial:
    """Return a trial as its search method reads it, without a score where a run has none."""
    accuracy = setting.accuracy if setting.complete else nan
    return FinishedTrial(proposal.values, proposal.budget, accuracy)


def _widened(
    arm: Arm, trials: tuple[Trial, ...], settings: list[ScoredSetting]
) -> tuple[Arm, list[_Planned]]:
    """Return an arm with its spaces widened where the best setting is at an end, and new trials.

    A design has no step, so it is not widened.
    """
    spaces = _widened_spaces(arm, trials, settings)
    if spaces == dict(arm.definition.spaces):
        return arm, []
    widened = replace(arm, definition=replace(arm.definition, spaces=spaces))
    existing = [trial.setting for trial in trials]
    new_trials = []
    for proposal in widened.definition.proposals():
        try:
            trial = widened.definition.trial(proposal.values)
        except Refusal:
            continue  # this value is invalid with the value of another space
        if trial.setting not in existing:
            new_trials.append(_Planned(trial, proposal))
    return widened, new_trials


def _widened_spaces(
    arm: Arm, trials: tuple[Trial, ...], settings: list[ScoredSetting]
) -> dict[tuple[str, str], Space]:
    """Return the spaces of an arm, with one more value at each end where its best setting is."""
    spaces = dict(arm.definition.spaces)
    chosen = _best_setting(arm, settings)
    if chosen is None:
        return spaces
    for dimension in searched_values(arm):
        place = dimension.part, dimension.key
        end = at_edge(chosen, settings, dimension)
        if not end or spaces[place].extend < 1:
            continue
        value = _next_value(arm, trials, place, end)
        if value is not None:
            spaces[place] = spaces[place].with_value(value)
    return spaces


def _last_values(
    arm: Arm, trials: tuple[Trial, ...], settings: list[ScoredSetting]
) -> list[dict[str, dict[str, Any]]]:
    """Return the settings to repeat on more seeds: the best one and its neighbours.

    They are repeated if a neighbour has the last value that widening has added, since this value
    may be worse than the one before it by chance. The list is empty if the space is not widened
    further, or if the last value has collapsed, which does not happen by chance.
    """
    chosen = _best_setting(arm, settings)
    if chosen is None:
        return []
    complete = [item for item in settings if item.complete]
    is_low = collapsed(np.array([item.accuracy for item in complete]))
    comparable = [item.setting for item, low in zip(complete, is_low, strict=True) if not low]
    repeated = []
    for dimension, end in itertools.product(searched_values(arm), (-1, 1)):
        place = dimension.part, dimension.key
        neighbours = _settings_beside(arm, chosen, place, end)
        if not neighbours or neighbours[0] not in comparable:
            continue
        if _next_value(arm, trials, place, end) is not None:
            repeated += [setting for setting in neighbours if setting in comparable]
    return [chosen, *repeated] if repeated else []


def _settings_beside(
    arm: Arm, chosen: dict[str, dict[str, Any]], place: tuple[str, str], end: int
) -> list[dict[str, dict[str, Any]]]:
    """Return a chosen setting with each of the values of `_neighbours` at one place.

    There are none if the space of the place was not widened, or cannot be widened further.
    """
    part, key = place
    space = arm.definition.spaces[place]
    if space.widened < 1 or space.extend < 1:
        return []
    values = _neighbours(space, end, chosen[part][key])
    return [{**chosen, part: {**chosen[part], key: value}} for value in values]


def _neighbours(space: Space, end: int, value: Any) -> list[Any]:
    """Return the first and the third value from an end: the neighbours of the second.

    There are none if `value` is not this second value, or if widening has not added the last one.
    """
    values = space.values if end < 0 else space.values[::-1]
    last, second, *third = values[:3]
    is_added = not space.low <= last <= space.high
    return [last, *third] if is_added and value == second else []


def _next_value(arm: Arm, trials: tuple[Trial, ...], place: tuple[str, str], end: int) -> Any:
    """Return the value beyond the end of a space; None if the field or its effect ends there.

    A step that passes the bound of the field, or whose value has no effect, is halved.
    """
    space = arm.definition.spaces[place]
    for halvings in range(HALVINGS + 1):
        value = space.beyond(end, halvings)
        if value is None:
            continue
        value = _within_bounds(arm, place, value)
        if value not in space.values and _acts(arm, trials, place, value):
            return value
    return None


def _is_extendable(arm: Arm, trials: tuple[Trial, ...], place: tuple[str, str]) -> bool:
    """Return whether another value of a range or of a list would have an effect.

    A list of values without such choices can always have more values.
    """
    space = arm.definition.spaces[place]
    part, key = place
    kind = _section(arm, part, key)
    values = space.between(PARTS)
    if space.scale is None:
        values = list(choices(kind, key.rpartition(".")[2])) if kind else []
        if not values:
            return True
    untried = [value for value in values if value not in space.values]
    return any(_acts(arm, trials, place, value) for value in untried)


def _acts(arm: Arm, trials: tuple[Trial, ...], place: tuple[str, str], value: Any) -> bool:
    """Return whether a value is allowed in an arm and trains a different network."""
    first = trials[0].setting
    values = [
        value if (part, key) == place else first[part][key] for part, key in arm.definition.spaces
    ]
    try:
        trial = arm.definition.trial(values)
        network = network_key(trial)
    except Refusal:
        return False
    others = [Trial({}, (), trial.protocol), *trials]
    return not trial.regularizers or network not in map(network_key, others)


def _within_bounds(arm: Arm, place: tuple[str, str], value: Any) -> Any:
    """Return a value, limited to the bounds of its field if these are allowed values."""
    for rule in _rules(arm, place):
        if isinstance(rule, annotated_types.Ge) and value < rule.ge:
            return rule.ge
        if isinstance(rule, annotated_types.Le) and value > rule.le:
            return rule.le
    return value


def _rules(arm: Arm, place: tuple[str, str]) -> list[Any]:
    """Return the constraints of the field that a value of an arm belongs to."""
    part, key = place
    kind = _section(arm, part, key)
    return constraints(kind, key.rpartition(".")[2]) if kind else []


def _section(arm: Arm, part: str, key: str) -> type[Settings] | None:
    """Return the class of settings that has a field of an arm; None if there is none."""
    if part != PROTOCOL:
        return regularizers.settings()[part]
    return section_class(arm.trials[0].protocol, key.rpartition(".")[0])


def _most_added(arm: Arm) -> int:
    """Return the largest number of settings that widening may add to a grid."""
    spaces: list[Space] = list(arm.definition.spaces.values())
    return size(spaces, widened=True) - size(spaces)


def _most_repeated(arm: Arm) -> int:
    """Return the largest number of runs of the last values that may be added.

    A space that may be widened no more than once has none.
    """
    spaces = arm.definition.spaces.values()
    ends = sum(space.widened + space.extend > 1 and space.extend > 0 for space in spaces)
    return REPEATS * (1 + 2 * ends) if ends else 0
