"""What must not change a number: workers, order of runs, threads of libraries, the hash seed.

One worker has the same result too: tests/test_pipeline.py.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = """
from pipeline import choose, compare, confirm, evaluate, predict, prepare, train
from pipeline.execution import processes
in_order = processes.run_jobs
processes.run_jobs = lambda jobs, *rest: in_order(jobs[::-1], *rest)
for stage in (prepare, train, choose, confirm, predict, evaluate, compare):
    stage.main("tiny")
"""


def test_the_same_tables_and_weights(finished, project):
    """As two workers give them, in order, with one thread and under another hash seed."""
    (project / "params.yaml").write_text("protocols: [tiny]\nexecution: {workers: 3}\n")
    environment = os.environ | {
        "OMP_NUM_THREADS": "4",
        "PYTHONHASHSEED": "1",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    names = [
        "scores.csv",
        "contrasts.csv",
        "interactions.csv",
        "ensembles.csv",
        "variance.csv",
        "choice.json",
    ]
    paths = [Path("artifacts", "tiny", name) for name in names]
    stored = sorted(path.relative_to(finished) for path in finished.glob(".runs/*/*.safetensors"))
    kinds = {path.name for path in stored}
    assert {"weights.safetensors", "raw_1.safetensors", "snapshots_2.safetensors"} < kinds
    paths += stored
    assert len(paths) > 46
    assert [
        str(path)
        for path in paths
        if (finished / path).read_bytes() != (project / path).read_bytes()
    ] == []
