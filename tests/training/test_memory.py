"""The memory of a training: a split that fits is held once, as bytes; else it is read by batch."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGES = 25_000
GIVEN_BACK = {  # glibc returns what is freed, so that the memory of a process is what it uses
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
    "MALLOC_ARENA_MAX": "1",
}
CODE = """
import sys, threading, time
from pathlib import Path
import numpy as np
from pipeline.planning.fingerprint import RunConfig
from pipeline.config.streams import Streams
from pipeline.data import stored
from pipeline.data.arrays import Arrays
from pipeline.training.trainer import train

peak = 0

def watch():
    global peak
    while True:
        status = Path("/proc/self/status").read_text()
        peak = max(peak, int(status.split("RssAnon:")[1].split()[0]) / 1024)
        time.sleep(0.005)

def peak_of_training(pool):
    global peak
    peak, size = 0, len(pool.labels) - 2000
    config = RunConfig(
        data={"dataset": "digits", "train_size": size, "label_noise": 0.0, "test_fraction": 0.4},
        model={"name": "mlp", "hidden": (4,)},
        training={"learning_rate": 0.01, "schedule": {"name": "constant"}, "epochs": 1,
                  "batch_size": 500, "curve_points": 1},
        regularizers=(),
        streams=Streams.of(0),
    )
    assert not train(config, pool).diverged
    return peak

pool = Arrays(np.load("images.npy", mmap_mode="r"), np.arange(int(sys.argv[1])) % 10, 10)
threading.Thread(target=watch, daemon=True).start()
few = peak_of_training(pool.take(np.arange(3000)))
limit, stored.IN_MEMORY = stored.IN_MEMORY, 0
by_batch = peak_of_training(pool)
stored.IN_MEMORY = limit
print(few, by_batch, peak_of_training(pool))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_training_holds_bytes_or_a_batch(tmp_path):
    np.save(
        tmp_path / "images.npy",
        np.random.default_rng(0).integers(0, 256, (IMAGES, 3, 32, 32), np.uint8),
    )
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{CODE}",
        str(IMAGES),
    ]
    environment = os.environ | GIVEN_BACK
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    once = IMAGES * 3 * 32 * 32 / 2**20  # megabytes; as fractions they would be four times as many
    few, by_batch, held = map(float, done.stdout.split())
    assert held - few < 1.5 * once
    assert by_batch - few < once / 2
    assert held - by_batch > once / 2
