"""Decode all images of a folder in threads, in chunks kept on disk: an interrupted run resumes.

The name of a chunk is a digest of its files, settings and decoder, so a change of any makes a new
chunk. Chunks are written atomically.
"""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL

from pipeline.data import decoding
from pipeline.data.decoding import ImageFormat, Pixels
from pipeline.data.paths import cache_folder
from pipeline.runtime.behaviour import code_digest
from pipeline.runtime.files import write_bytes
from pipeline.runtime.progress import progress

CHUNK = 128  # images
THREADS = min(8, os.cpu_count() or 1)  # each may hold one image of Pillow's largest size

Unreadable = dict[int, str]  # index -> reason


def decode_folder(
    folder: Path, paths: Sequence[Path], image_format: ImageFormat
) -> tuple[Pixels, Unreadable]:
    """Return images (N, channels, height, width), black where unreadable, and the reasons."""
    cache = cache_folder() / _digest([str(folder.resolve()), image_format.size, image_format.mode])
    cache.mkdir(parents=True, exist_ok=True)
    images = np.zeros((len(paths), *image_format.shape), np.uint8)
    unreadable: Unreadable = {}
    used: set[Path] = set()
    with (
        progress(f"images of {folder}", len(paths)) as tally,
        ThreadPoolExecutor(THREADS) as pool,
        decoding.strict_pixel_limit(),
    ):
        for start in range(0, len(paths), CHUNK):
            files = paths[start : start + CHUNK]
            chunk = cache / f"{_key(folder, files)}.npz"
            pixels, reasons = _load(chunk) or _decode(chunk, folder, files, image_format, pool)
            images[start : start + CHUNK] = pixels
            unreadable |= {start + index: reason for index, reason in reasons.items()}
            used.add(chunk)
            tally.add("done", len(files))
    for outdated in set(cache.iterdir()) - used:
        outdated.unlink()
    return images, unreadable


def _decode(
    chunk: Path, folder: Path, paths: Sequence[Path], image_format: ImageFormat, pool: Executor
) -> tuple[Pixels, Unreadable]:
    """Decode the images of a chunk and keep it."""
    images = np.zeros((len(paths), *image_format.shape), np.uint8)
    reasons: Unreadable = {}
    results = pool.map(lambda path: decoding.decode(path, folder, image_format), paths)
    for index, result in enumerate(results):
        if isinstance(result, str):
            reasons[index] = result
        else:
            images[index] = result
    buffer = io.BytesIO()
    np.savez(buffer, images=images, unreadable=np.array(json.dumps(reasons)))
    write_bytes(chunk, buffer.getvalue())
    return images, reasons


def _load(chunk: Path) -> tuple[Pixels, Unreadable] | None:
    """Return a kept chunk, or None where it is missing or damaged, by the checksums of zip."""
    try:
        with np.load(chunk, allow_pickle=False) as file:
            reasons = json.loads(str(file["unreadable"]))
            return file["images"], {int(index): reason for index, reason in reasons.items()}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _key(folder: Path, paths: Sequence[Path]) -> str:
    files = []
    for path in paths:
        status = path.stat() if path.exists() else path.lstat()  # a broken link
        files.append((path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns))
    return _digest([[PIL.__version__, code_digest(decoding.__name__)], files])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:20]
