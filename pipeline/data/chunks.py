"""All images of a folder, decoded in threads and kept in chunks: the second try goes on where the first one ended.

Separate from decoding one file. A chunk is named by all it was made of, so a changed file, setting or decoder makes a
new one, and it appears whole or not at all.
"""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL

from pipeline.data import decoding
from pipeline.data.decoding import Form, Pixels
from pipeline.runtime.behaviour import code_digest
from pipeline.runtime.files import write_bytes
from pipeline.runtime.progress import progress

KEPT = Path(".data")
CHUNK = 128  # images
THREADS = min(8, os.cpu_count() or 1)  # each may hold one image of Pillow's largest size

Unreadable = dict[int, str]  # place -> why


def decoded(folder: Path, paths: Sequence[Path], form: Form) -> tuple[Pixels, Unreadable]:
    """Images (N, channels, height, width) of the files in `folder`, and which of them cannot be read; those are black."""
    place = KEPT / _digest([str(folder.resolve()), form.size, form.mode])
    place.mkdir(parents=True, exist_ok=True)
    images = np.zeros((len(paths), *form.shape), np.uint8)
    unreadable: Unreadable = {}
    used: set[Path] = set()
    with (
        progress(f"images of {folder}", len(paths)) as tally,
        ThreadPoolExecutor(THREADS) as pool,
        decoding.bounded(),
    ):
        for start in range(0, len(paths), CHUNK):
            some = paths[start : start + CHUNK]
            kept = place / f"{_key(folder, some)}.npz"
            found, failed = _load(kept) or _made(kept, folder, some, form, pool)
            images[start : start + CHUNK] = found
            unreadable |= {start + index: why for index, why in failed.items()}
            used.add(kept)
            tally.add("done", len(some))
    for stray in set(place.iterdir()) - used:
        stray.unlink()
    return images, unreadable


def _made(
    kept: Path, folder: Path, paths: Sequence[Path], form: Form, pool: ThreadPoolExecutor
) -> tuple[Pixels, Unreadable]:
    results = list(pool.map(lambda path: decoding.pixels(path, folder, form), paths))
    failed = {index: result for index, result in enumerate(results) if isinstance(result, str)}
    black = np.zeros(form.shape, np.uint8)
    images = np.stack([black if isinstance(result, str) else result for result in results])
    buffer = io.BytesIO()
    np.savez(buffer, images=images, unreadable=np.array(json.dumps(failed)))
    write_bytes(kept, buffer.getvalue())
    return images, failed


def _load(kept: Path) -> tuple[Pixels, Unreadable] | None:
    """A chunk made before, if it is there and undamaged: the container has checksums."""
    try:
        with np.load(kept, allow_pickle=False) as file:
            return file["images"], {
                int(index): why for index, why in json.loads(str(file["unreadable"])).items()
            }
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _key(folder: Path, paths: Sequence[Path]) -> str:
    made_by = [PIL.__version__, code_digest(decoding.__name__)]
    return _digest(
        [made_by, [[path.relative_to(folder).as_posix(), *_stamp(path)] for path in paths]]
    )


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of the last change of a file; of the link itself where it leads nowhere."""
    found = path.stat() if path.exists() else path.lstat()
    return found.st_size, found.st_mtime_ns


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:20]
