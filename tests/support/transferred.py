"""A confirmation phase of a protocol with pretrainings, with planted accuracies and costs."""

import numpy as np
import pandas as pd

from pipeline.comparison.bands import bands
from pipeline.comparison.contrasts import contrasts
from pipeline.comparison.matching import Outcomes
from pipeline.comparison.transfer import cells_of, crossovers, gains, leads, starts_of, transfer
from pipeline.config.plan import Factor, Plan, PlannedArm, PlannedRun, PlannedStart, PlannedStudy
from pipeline.config.run import RunConfig
from pipeline.config.start import RunStart
from pipeline.config.streams import Streams

SEEDS = tuple(range(1000, 1012))
PRETRAINED = {"similar": 500.0, "different": 700.0}  # FLOPs
FIRST = 30.0  # of a first phase
CLASSES = 5
SIZES = (3, 10, 30, 100)


def name_of(source: str, train: str, size: int) -> str:
    """Return the name of an arm; the baseline is trained from scratch with 10 images per class."""
    if not source:
        return "baseline" if size == 10 else f"images_{size}"
    return f"{train}_{source}_{size}"


class Planted:
    """Arms with planted accuracies.

    Attributes:
        cells: Pretraining ("" for none), what is trained, images per class -> accuracies by seed.
    """

    def __init__(self, cells, seeds=SEEDS):
        self.cells, self.seeds = cells, seeds
        self.plan = self._plan()
        runs = self.plan.runs
        by_name = {name_of(*cell): cell for cell in cells}
        self.configs = {run.fingerprint: self._config(by_name[run.arm], run.seed) for run in runs}
        names = self.plan.trained()
        scores = {
            (run.fingerprint, "deterministic", 1, "test", "accuracy"): float(
                cells[by_name[run.arm]][seeds.index(run.seed)]
            )
            for run in runs
        }
        self.outcomes = Outcomes(dict.fromkeys(names, "done"), dict.fromkeys(names, "m"), scores)
        self.costs = {run.fingerprint: 10.0 * by_name[run.arm][2] for run in runs}
        for start in self.plan.starts:
            self.costs[start.fingerprint] = PRETRAINED[start.data] if start.data else FIRST

    def _plan(self):
        arms, runs, starts = [], [], {}
        for source, train, size in sorted(
            self.cells, key=lambda cell: name_of(*cell) != "baseline"
        ):
            arm = name_of(source, train, size)
            changes = {"start.from": source, "start.train": train} if source else {}
            size_change = {} if size == 10 else {"data.per_class": size}
            changed = {**changes, **size_change}
            arms.append(
                PlannedArm(
                    name=arm,
                    factor=Factor(protocol=changes or size_change),
                    against=name_of("", "", size) if source else "baseline",
                    family="transfer" if source else "data size" if size_change else "other",
                    train_size=CLASSES * size,
                )
            )
            for seed in self.seeds:
                start = None
                if source:
                    start = f"{source}-{seed}"
                    starts[start] = PlannedStart(
                        name=source, data=source, images=9, seed=seed, fingerprint=start
                    )
                if train == "head_then_all":
                    before, start = start, f"first-{arm}-{seed}"
                    starts[start] = PlannedStart(
                        name="first phase",
                        data="",
                        images=9,
                        seed=seed,
                        fingerprint=start,
                        start=before,
                    )
                runs.append(
                    PlannedRun(
                        study="modes",
                        arm=arm,
                        setting={} if arm == "baseline" else {"protocol": changed},
                        seed=seed,
                        fingerprint=f"{arm}-{seed}",
                        start=start,
                    )
                )
        study = PlannedStudy(name="modes", question="What to train?", arms=tuple(arms))
        return Plan(
            protocol="tiny",
            phase="confirmation",
            settings={
                "data": {"dataset": "digits", "train_size": 50},
                "model": {"name": "mlp"},
                "training": {"epochs": 40, "batch_size": 25, "learning_rate": 0.05},
            },
            margin=0.01,
            data_digest="d",
            studies=(study,),
            runs=tuple(runs),
            starts=tuple(starts.values()),
        )

    def _config(self, cell, seed):
        source, train, size = cell
        two = train == "head_then_all"
        start = RunStart(
            train="all" if two or not source else train,
            k=2 if train == "last_k" else None,
            head="kept" if two else "fresh",
        )
        return RunConfig(
            data={"train_size": CLASSES * size, "per_class": size},
            model={"name": "mlp"},
            training={"learning_rate": 0.1 if source else 0.05, "epochs": 40, "batch_size": 25},
            start=start.model_dump(mode="json") if source else {},
            regularizers=(),
            streams=Streams.of(seed),
        )

    def start_configs(self):
        """Return the settings of the runs that others start from, by fingerprint."""
        return {start.fingerprint: self._start_config(start) for start in self.plan.starts}

    def _start_config(self, start):
        similar = start.name == "similar"
        return RunConfig(
            data={"dataset": "digits", "classes": [0, 1, 2], "train_size": 400, "per_class": None}
            if similar
            else {"dataset": "mnist_5k", "classes": None, "train_size": 2500},
            model={"name": "mlp"},
            training={"learning_rate": 0.05, "epochs": 30, "batch_size": 25 if similar else 50},
            start={},
            regularizers=() if similar else ({"name": "dropout", "rate": 0.5},),
            streams=Streams.of(start.seed),
        )

    def read(self, fingerprint):
        """Return the settings of a run."""
        return self.configs[fingerprint]

    def tables(self):
        """Return the tables of `compare` that these numbers give, by name."""
        starts = starts_of(self.plan, self.read)
        cells = cells_of(starts)
        runs = self.plan.runs
        keys = ["study", "arm", "metric"]
        rows = [
            (run.study, run.arm, "test_accuracy", value)
            for run, value in zip(runs, self.outcomes.scores.values(), strict=True)
        ]
        means = bands(pd.DataFrame(rows, columns=[*keys, "value"]), keys, "value")
        compared = contrasts(self.plan, self.outcomes, {}, {}, ("test_accuracy",))
        arguments = (self.plan, starts, compared, means, self.outcomes, self.costs)
        return {
            "contrasts": compared,
            "arms": means,
            "transfer": transfer(*arguments),
            "crossovers": crossovers(cells, self.outcomes),
            "transfer_gains": gains(cells, self.outcomes, None),
            "transfer_leads": leads(cells, self.outcomes, None),
        }


def planted():
    """Return arms at four sizes whose fine-tuning overtakes the probe near 17 images per class.

    The other source gains nothing.
    """
    noise = np.random.default_rng(0).normal(0, 0.01, (12, len(SEEDS)))
    cells = {}
    for place, size in enumerate(SIZES):
        scratch = 0.55 + 0.08 * np.log(size) + noise[0] + noise[11] * place / 9
        cells["", "all", size] = scratch
        probe = scratch + 0.2 - 0.045 * np.log(size) + noise[1 + place]
        cells["similar", "head", size] = probe
        cells["similar", "all", size] = probe + 0.03 * np.log(size / 17) + noise[5 + place] / 2
    for size in (10, 100):
        cells["different", "head", size] = cells["", "all", size] - 0.02 + noise[9]
        cells["different", "all", size] = cells["", "all", size] + 0.01 + noise[10] / 4
    cells["similar", "head_then_all", 10] = cells["similar", "head", 10] + 0.02
    cells["similar", "last_k", 10] = cells["similar", "head", 10] + 0.01
    return Planted(cells)
