"""Plan the runs that other runs start from: pretrainings, and first phases of two."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.config.plan import FIRST_PHASE, PlannedStart
from pipeline.config.run import RunConfig
from pipeline.config.start import Start
from pipeline.config.streams import Streams
from pipeline.planning.arms import Trial
from pipeline.planning.fingerprint import fingerprint, identity
from pipeline.planning.pretraining import pretrained_by
from pipeline.planning.protocols import Protocol
from pipeline.regularizers._regularizer import Regularizer


@dataclass(frozen=True)
class Digests:
    """The digests of the prepared data.

    Attributes:
        data: The digest of the data of the protocol.
        pretraining: The digests of the data of its pretrainings, by name.
    """

    data: str
    pretraining: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class IdentifiedRun:
    """A run with the runs it starts from.

    Attributes:
        identity: The values that are hashed.
        starts: The run that it starts from, the one that starts from, and so on; each with its
            identity.
    """

    identity: dict[str, Any]
    starts: tuple[tuple[PlannedStart, dict[str, Any]], ...] = ()

    @property
    def fingerprint(self) -> str:
        """Return the name of the run."""
        return fingerprint(self.identity)


def identify_run(trial: Trial, streams: Streams, digests: Digests) -> IdentifiedRun:
    """Return the run of a setting under these streams, with the runs it starts from.

    Args:
        trial: The setting.
        streams: The streams of the run. A pretraining has the seed of the init stream in all of
            its own, so that every arm of a seed starts from the same one.
        digests: Those of the prepared data.
    """
    return _identify(trial.protocol, trial.regularizers, streams, digests, "")


def _identify(
    protocol: Protocol,
    regularizers: tuple[Regularizer, ...],
    streams: Streams,
    digests: Digests,
    pretraining: str,
) -> IdentifiedRun:
    """Return a run on the data of the protocol, or of one of its pretrainings."""
    last, parents = _parents(protocol, regularizers, streams, digests, pretraining)
    digest = digests.pretraining.get(pretraining, "") if pretraining else digests.data
    start = parents[0][0].fingerprint if parents else None
    described = identity(_config(last, regularizers, streams), digest, start)
    return IdentifiedRun(described, parents)


def _parents(
    protocol: Protocol,
    regularizers: tuple[Regularizer, ...],
    streams: Streams,
    digests: Digests,
    pretraining: str,
) -> tuple[Protocol, tuple[tuple[PlannedStart, dict[str, Any]], ...]]:
    """Return the protocol of the last phase of a run, and the runs from which it starts."""
    start = Start.model_validate(protocol.start)
    if start.train == "head_then_all":
        first, last = phases(protocol, start)
        if first == last:  # there is no second phase
            return _parents(first, regularizers, streams, digests, pretraining)
        run = _identify(first, regularizers, streams, digests, pretraining)
        name, data = FIRST_PHASE, pretraining
        return last, (_planned(name, data, streams.init, run, False), *run.starts)
    if start.source is None:
        return protocol, ()
    source, acting = pretrained_by(protocol, start.source)
    run = _identify(source, acting, Streams.of(streams.init), digests, start.source)
    more = protocol.pretraining[start.source]["share"] is not None
    name = start.source
    return protocol, (_planned(name, name, streams.init, run, more), *run.starts)


def phases(protocol: Protocol, start: Start) -> tuple[Protocol, Protocol]:
    """Return the protocols of the two phases of head_then_all; equal where the first takes all.

    Args:
        protocol: A resolved protocol.
        start: Its start, with `train: head_then_all`.
    """
    epochs = protocol.training.epochs
    first_epochs = min(max(round(start.head_share * epochs), 1), epochs)
    rate = protocol.training.learning_rate * start.rates.head
    of_head = start.model_copy(update={"train": "head"})
    first = protocol.model_copy(
        update={
            "start": of_head.model_dump(mode="json", by_alias=True),
            "training": protocol.training.model_copy(
                update={"epochs": first_epochs, "learning_rate": rate}
            ),
        }
    )
    if first_epochs == epochs:
        return first, first
    rest = protocol.training.model_copy(update={"epochs": epochs - first_epochs})
    return first, protocol.model_copy(update={"training": rest})


def _planned(
    name: str, data: str, seed: int, run: IdentifiedRun, more_data: bool
) -> tuple[PlannedStart, dict[str, Any]]:
    before = run.starts[0][0].fingerprint if run.starts else None
    planned = PlannedStart(
        name=name,
        data=data,
        seed=seed,
        fingerprint=run.fingerprint,
        start=before,
        images=run.identity["data"]["train_size"] * run.identity["training"]["epochs"],
        more_data=more_data,
    )
    return planned, run.identity


def run_config(trial: Trial, streams: Streams) -> RunConfig:
    """Return the settings of the last phase of training of a setting under these streams.

    Args:
        trial: The setting with its protocol.
        streams: The seed of each stream of randomness.
    """
    return _config(trial.protocol, trial.regularizers, streams)


def _config(
    protocol: Protocol, regularizers: tuple[Regularizer, ...], streams: Streams
) -> RunConfig:
    """Return the settings of the last phase of a training."""
    start = Start.model_validate(protocol.start)
    acting = tuple({"name": item.name, **item.model_dump(mode="json")} for item in regularizers)
    values = {} if start.is_fresh else start.run_start().model_dump(mode="json")
    return RunConfig(**protocol.settings(), start=values, regularizers=acting, streams=streams)


def distinct(runs: Iterator[IdentifiedRun]) -> dict[str, tuple[PlannedStart, dict[str, Any]]]:
    """Return every run that others start from, by fingerprint, each after its own start.

    Args:
        runs: Runs with their identities and starts.
    """
    rows = [row for run in runs for row in reversed(run.starts)]
    return {start.fingerprint: (start, described) for start, described in rows}
