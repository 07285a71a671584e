"""Rate of decoding image files, resuming after a kill, and peak memory of large data.

Bars: 20,000 photographs of 320x240 at 500 per second on two processors; after a kill at most one
chunk is decoded again; 100,000 color images of 32x32 under 1,200 MB, in `prepare` and in trainings
of one epoch on 2,000 and on 90,000 of them. The files have 200 different contents, half of them
JPEG, half PNG, and are in the cache of the disk. More detail takes longer to decode. Writes
benchmarks/results/images.json.
"""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.data.chunks import CACHE, CHUNK

FILES, CLASSES, CONTENTS, MANY = 20_000, 10, 200, 100_000
SIZES = 2000, 90_000  # of training sets; the other images are for validation
RATE, MEGABYTES = 500, 1200
ROOT = Path(__file__).resolve().parent.parent
RESULT = Path(__file__).parent / "results" / "images.json"
PREPARE = """
import runpy, sys
sys.argv[1:] = [{name!r}]
runpy.run_module("pipeline.prepare", run_name="__main__")
"""
TRAIN = """
from pathlib import Path
from pipeline.config.run import RunConfig
from pipeline.config.streams import Streams
from pipeline.data.prepared import read_development
from pipeline.training.trainer import train
data = dict(dataset="array_files", train_size={size}, label_noise=0.0, test_fraction=0.01)
training = dict(
    learning_rate=0.01, schedule={"name": "constant"}, epochs=1, batch_size=50, curve_points=1
)
model = dict(name="mlp", hidden=(64,))
config = RunConfig(
    data=data, model=model, training=training, regularizers=(), streams=Streams.of(0)
)
assert not train(config, read_development(Path("artifacts/{name}/data"))).diverged
"""
PROTOCOL = """
source: {{path: {path}}}
data: {{dataset: {dataset}, train_size: 2000, test_fraction: 0.01}}
model: {{name: cnn}}
training: {{learning_rate: 0.05, epochs: 1, batch_size: 50}}
studies: [dropout]
"""


def contents() -> list[tuple[str, bytes]]:
    """Return (suffix, content) of synthetic photographs: smooth colors, JPEG and PNG."""
    generator, found = np.random.default_rng(0), []
    for number in range(CONTENTS):
        coarse = Image.fromarray(generator.integers(0, 256, (12, 16, 3), np.uint8))
        kind, buffer = ("jpeg", "png")[number % 2], io.BytesIO()
        coarse.resize((320, 240), Image.Resampling.BICUBIC).save(buffer, kind)
        found.append((kind, buffer.getvalue()))
    return found


def write(folder: Path) -> None:
    """Write both datasets and their protocols."""
    for label in range(CLASSES):
        (folder / "photographs" / f"class_{label}").mkdir(parents=True)
    kinds = contents()
    for number in range(FILES):
        kind, content = kinds[number % CONTENTS]
        (folder / "photographs" / f"class_{number % CLASSES}" / f"{number:05}.{kind}").write_bytes(
            content
        )
    images = np.random.default_rng(0).integers(0, 256, (MANY, 32, 32, 3), np.uint8)
    np.savez(folder / "many.npz", images=images, labels=np.arange(MANY) % CLASSES)
    protocols = folder / "experiments" / "protocols"
    protocols.mkdir(parents=True)
    (protocols / "files.yaml").write_text(
        PROTOCOL.format(path="photographs", dataset="image_folder")
    )
    (protocols / "many.yaml").write_text(PROTOCOL.format(path="many.npz", dataset="array_files"))
    (folder / "params.yaml").write_text("protocols: [files]\n")


def started(code: str, name: str, folder: Path, size: int = 0) -> subprocess.Popen[bytes]:
    """Start a process that runs the code in the folder."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", code.format(name=name, size=size)], cwd=folder, env=environment
    )


def measured(code: str, name: str, folder: Path, size: int = 0) -> dict[str, float]:
    """Return wall and processor seconds, and peak megabytes, of the code with its imports."""
    began = time.perf_counter()
    _, status, usage = os.wait4(started(code, name, folder, size).pid, 0)
    if status:
        sys.exit(f"{name} failed with status {status}")
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "megabytes": round(usage.ru_maxrss / 1000),
    }


def killed(folder: Path) -> int:
    """Kill `prepare` when half of the chunks exist; return how many images they hold."""
    shutil.rmtree(folder / CACHE)
    child = started(PREPARE, "files", folder)
    while len(kept := list((folder / CACHE).glob("*/*.npz"))) * CHUNK < FILES / 2:
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    return len(kept) * CHUNK


def main() -> None:
    """Measure and write the result."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write(folder)
        found = {
            "prepare": measured(PREPARE, "files", folder),
            "once_more": measured(PREPARE, "files", folder),
        }
        kept = killed(folder)
        found["after_a_kill"] = measured(PREPARE, "files", folder) | {"images_kept": kept}
        arrays = {"prepare": measured(PREPARE, "many", folder)}
        for size in SIZES:
            arrays[f"training_on_{size}"] = measured(TRAIN, "many", folder, size)
    rates = {
        kind: round(FILES / found["prepare"][kind]) for kind in ("seconds", "processor_seconds")
    }
    result = {
        "bars": {"images_per_second": RATE, "megabytes": MEGABYTES},
        "processors": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "files": {
            "images": FILES,
            "images_per_second": rates["seconds"],
            "per_processor": rates["processor_seconds"],
            **found,
        },
        "arrays": {"images": MANY, **arrays},
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
