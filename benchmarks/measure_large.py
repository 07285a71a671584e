"""Peak memory of every command with a million color images of 32x32, which are 3 GB.

Bar: 1,500 MB that the kernel cannot take back, in any process: its anonymous and shared memory.
Files that are mapped lie in the cache of the disk, which shrinks where memory is short; with them,
the most that was resident is given, too. Once from an .npy file, once from a folder of PNG files.
`python benchmarks/measure_large.py 20000` takes as many images and writes no result, else it writes
benchmarks/results/large.json; `python benchmarks/measure_large.py 1000000 image_folder` measures
one form again.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from pipeline.config.yaml_files import read_yaml

MANY, CLASSES, SIDE, MEGABYTES = 1_000_000, 10, 32, 1500
CONTENTS = 20_000  # of files; the others are links to them
PIECE = 10_000  # images made at once
MEGABYTE = 1 << 20
INTERVAL = 0.05  # seconds between two looks at the memory
ROOT = Path(__file__).resolve().parent.parent
RESULT = Path(__file__).parent / "results" / "large.json"
STAGES = ("prepare", "train", "choose", "confirm", "predict", "evaluate")
PROTOCOL = """
source: {source}
data: {{dataset: {dataset}, train_size: {train}, test_fraction: 0.01}}
model: {{name: mlp, hidden: [16]}}
training: {{learning_rate: 0.01, epochs: 1, batch_size: 2000, curve_points: 1}}
seeds: {{exploration: 1, confirmation: 1}}
margin: 0.01
studies: [weight_decay]
"""
WEIGHT_DECAY = """
question: Does weight decay close the gap?
arms:
  weight_decay:
    - {name: weight_decay, strength: 0.01}
"""
SOURCES = {
    "array_files": "{images: data/images.npy, labels: data/labels.npy}",
    "image_folder": "{path: data/images}",
}


def write_arrays(folder: Path, count: int) -> None:
    """Write images (N, height, width, channels) of noise, each brighter by its class."""
    shape = (count, SIDE, SIDE, 3)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, shape)
    labels = np.arange(count) % CLASSES
    generator = np.random.default_rng(0)
    for start in range(0, count, PIECE):
        part = labels[start : start + PIECE]
        noise = generator.integers(0, 100, (len(part), *shape[1:]), np.uint8)
        images[start : start + PIECE] = noise + 10 * part[:, None, None, None].astype(np.uint8)
    np.save(folder / "labels.npy", labels)


def write_files(folder: Path, count: int) -> None:
    """Write as many PNG files, of which every `CONTENTS` have different contents."""
    images = np.load(folder / "images.npy", mmap_mode="r")
    for label in range(CLASSES):
        (folder / "images" / f"class_{label}").mkdir(parents=True)
    for number in range(count):
        place = folder / "images" / f"class_{number % CLASSES}"
        name, first = place / f"{number:07}.png", place / f"{number % CONTENTS:07}.png"
        if number < CONTENTS:
            Image.fromarray(images[number]).save(name)
        else:
            os.link(first, name)


def write_project(folder: Path, count: int) -> None:
    """Write the data, and a protocol for either form."""
    (folder / "data").mkdir()
    (folder / "experiments" / "protocols").mkdir(parents=True)
    (folder / "pipeline").symlink_to(ROOT / "pipeline")
    (folder / "experiments" / "weight_decay.yaml").write_text(WEIGHT_DECAY)
    document = dict(read_yaml(ROOT / "params.yaml")) | {"protocols": list(SOURCES)}
    (folder / "params.yaml").write_text(json.dumps(document))
    write_arrays(folder / "data", count)
    for dataset, source in SOURCES.items():
        text = PROTOCOL.format(dataset=dataset, source=source, train=count * 98 // 100)
        (folder / "experiments" / "protocols" / f"{dataset}.yaml").write_text(text)


def measured(folder: Path, *command: str) -> dict[str, float]:
    """Return seconds, and peak megabytes in one process, of a command with its children."""
    environment = os.environ | {"GAPWISE_STORE": str(folder / ".runs")}
    began = time.perf_counter()
    child = psutil.Popen(
        [sys.executable, "-m", *command], cwd=folder, env=environment, stdout=subprocess.DEVNULL
    )
    held, resident = 0.0, 0.0
    while child.poll() is None:
        for process in (child, *_children(child)):
            needed, whole = _memory(process.pid)
            held, resident = max(held, needed), max(resident, whole)
        time.sleep(INTERVAL)
    if child.returncode:
        sys.exit(f"{' '.join(command)} ended with {child.returncode}")
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "megabytes": round(held),
        "megabytes_with_mapped_files": round(resident),
    }


def _children(child: psutil.Popen) -> list[psutil.Process]:
    try:
        children: list[psutil.Process] = child.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return children


def _memory(process: int) -> tuple[float, float]:
    """Return the megabytes that a process needs, and the most that were resident, files too."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    pairs = (line.split(":") for line in lines)
    kilobytes = {name: int(value.split()[0]) for name, value in pairs if value.endswith(" kB")}
    if "VmHWM" not in kilobytes:  # it has ended
        return 0, 0
    needed = kilobytes["RssAnon"] + kilobytes["RssShmem"]
    return needed * 1024 / MEGABYTE, kilobytes["VmHWM"] * 1024 / MEGABYTE


def measured_all(folder: Path, dataset: str, path: str) -> dict[str, dict[str, float]]:
    """Return what the commands take with one form of the data.

    Of files, only those that read them: the stages after `prepare` read arrays in any case.
    """
    stages = STAGES if dataset == "array_files" else STAGES[:1]
    commands: dict[str, tuple[str, ...]] = {
        stage: (f"pipeline.{stage}", dataset) for stage in stages
    }
    commands["plan"] = ("pipeline", "plan", "--protocol", dataset)
    named = ("--name", f"new_{dataset}", "--network", "mlp", "--minutes", "600")
    commands["new"] = ("pipeline", "new", path, *named)
    results = {}
    for name, command in commands.items():
        results[name] = measured(folder, *command)
        print(dataset, name, results[name], flush=True)
    return results


def main() -> None:
    """Measure one form of the data, or both, and write the result."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else MANY
    forms = sys.argv[2:] or list(SOURCES)
    measurements = {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("GAPWISE_BENCH")) as place:
        folder = Path(place)
        write_project(folder, count)
        if "array_files" in forms:
            measurements["array_files"] = measured_all(folder, "array_files", "data/images.npy")
        if "image_folder" in forms:
            write_files(folder / "data", count)
            measurements["image_folder"] = measured_all(folder, "image_folder", "data/images")
    if count == MANY:
        _write(measurements)


def _write(measurements: Mapping[str, dict[str, dict[str, float]]]) -> None:
    """Write the measurements; those of another form of the data are kept."""
    before = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    forms = {name: measurements.get(name, before.get(name, {})) for name in SOURCES}
    held = [one["megabytes"] for commands in forms.values() for one in commands.values()]
    result = {"bar_megabytes": MEGABYTES, "images": MANY, "at_most": max(held), **forms}
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
