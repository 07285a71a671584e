"""Rate of decoding image files, and resuming after a kill.

Bar: 20,000 photographs of 320x240 at 500 per second on two processors; after a kill at most one
chunk is decoded again. The files have 200 different contents, half of them JPEG, half PNG, and are
in the cache of the disk. More detail takes longer to decode. Writes
benchmarks/results/images.json; `measure_large.py` measures memory.
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

from pipeline.data.chunks import CHUNK

FILES, CLASSES, CONTENTS = 20_000, 10, 200
RATE = 500
CACHE = ".data"
ROOT = Path(__file__).resolve().parent.parent
RESULT = Path(__file__).parent / "results" / "images.json"
PREPARE = """
import runpy, sys
sys.argv[1:] = ["files"]
runpy.run_module("pipeline.prepare", run_name="__main__")
"""
PROTOCOL = """
source: {path: photographs}
data: {dataset: image_folder, train_size: 2000, test_fraction: 0.01}
model: {name: cnn}
training: {learning_rate: 0.05, epochs: 1, batch_size: 50}
studies: [dropout]
"""


def contents() -> list[tuple[str, bytes]]:
    """Return (suffix, content) of synthetic photographs: smooth colors, JPEG and PNG."""
    generator, files = np.random.default_rng(0), []
    for number in range(CONTENTS):
        coarse = Image.fromarray(generator.integers(0, 256, (12, 16, 3), np.uint8))
        kind, buffer = ("jpeg", "png")[number % 2], io.BytesIO()
        coarse.resize((320, 240), Image.Resampling.BICUBIC).save(buffer, kind)
        files.append((kind, buffer.getvalue()))
    return files


def write(folder: Path) -> None:
    """Write the photographs and their protocol."""
    for label in range(CLASSES):
        (folder / "photographs" / f"class_{label}").mkdir(parents=True)
    kinds = contents()
    for number in range(FILES):
        kind, content = kinds[number % CONTENTS]
        (folder / "photographs" / f"class_{number % CLASSES}" / f"{number:05}.{kind}").write_bytes(
            content
        )
    protocols = folder / "experiments" / "protocols"
    protocols.mkdir(parents=True)
    (protocols / "files.yaml").write_text(PROTOCOL)
    (folder / "params.yaml").write_text("protocols: [files]\n")


def started(folder: Path) -> subprocess.Popen[bytes]:
    """Start `prepare` in the folder."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", PREPARE], cwd=folder, env=environment)


def measured(folder: Path) -> dict[str, float]:
    """Return wall and processor seconds of `prepare`, and its peak megabytes."""
    began = time.perf_counter()
    _, status, usage = os.wait4(started(folder).pid, 0)
    if status:
        sys.exit(f"prepare failed with status {status}")
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "megabytes": round(usage.ru_maxrss / 1000),
    }


def killed(folder: Path) -> int:
    """Kill `prepare` when half of the chunks exist; return how many images they hold."""
    shutil.rmtree(folder / CACHE)
    child = started(folder)
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
        timings = {"prepare": measured(folder), "once_more": measured(folder)}
        kept = killed(folder)
        timings["after_a_kill"] = measured(folder) | {"images_kept": kept}
    rates = {
        kind: round(FILES / timings["prepare"][kind]) for kind in ("seconds", "processor_seconds")
    }
    result = {
        "bars": {"images_per_second": RATE},
        "processors": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "files": {
            "images": FILES,
            "images_per_second": rates["seconds"],
            "per_processor": rates["processor_seconds"],
            **timings,
        },
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
