"""Decode all images of a folder in threads, in chunks kept on disk: an interrupted run resumes.

The name of a chunk is a digest of its files, settings and decoder, so a change of any makes a new
chunk. Chunks are written atomically.
"""

import dataclasses
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray

from pipeline.data import decoding, metadata, white
from pipeline.data.decoding import ImageFormat, Pixels
from pipeline.data.paths import cache_folder
from pipeline.data.stored import collected
from pipeline.runtime.behaviour import code_digest
from pipeline.runtime.files import write_bytes
from pipeline.runtime.progress import progress

CHUNK = 128  # images
THREADS = min(8, os.cpu_count() or 1)  # each may hold one image of Pillow's largest size
FACTS: dict[str, type[np.generic]] = {
    "transparent": np.bool_,
    "highest": np.float64,
    "white": np.float64,
    "deep_color": np.bool_,
}  # fields of images, one value for each
ARRAYS = ("pixels", *FACTS)


@dataclass(frozen=True)
class DecodedImages:
    """All images of a folder.

    Attributes:
        pixels: (N, channels, height, width), black where unreadable.
        transparent: (N,) Whether the image was laid on the background.
        highest: (N,) The highest level in the file, without marks.
        white: (N,) The level that became 1; 0 where unreadable.
        deep_color: (N,) Whether the image has colors of 16 bits, of which 8 are read.
        unreadable: The reason of each unreadable image, by its index.
    """

    pixels: Pixels
    transparent: NDArray[np.bool_]
    highest: NDArray[np.float64]
    white: NDArray[np.float64]
    deep_color: NDArray[np.bool_]
    unreadable: dict[int, str]


def decode_folder(folder: Path, paths: Sequence[Path], image_format: ImageFormat) -> DecodedImages:
    """Return the images at these paths; the progress bar counts the chunks that are not cached."""
    settings = dataclasses.astuple(image_format)
    cache = cache_folder() / _digest([str(folder.resolve()), *settings])
    cache.mkdir(parents=True, exist_ok=True)
    facts = {name: np.zeros(len(paths), kind) for name, kind in FACTS.items()}
    unreadable: dict[int, str] = {}
    parted = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
    files_of = {cache / f"{_key(folder, files)}.npz": files for files in parted}
    missing = {chunk: len(files) for chunk, files in files_of.items() if not chunk.exists()}
    with (
        progress(f"images of {folder}", sum(missing.values())) as tally,
        ThreadPoolExecutor(THREADS) as pool,
        decoding.strict_pixel_limit(),
    ):

        def parts() -> Iterator[Pixels]:
            for number, (chunk, files) in enumerate(files_of.items()):
                start = number * CHUNK
                part = _load(chunk) or _decode(chunk, folder, files, image_format, pool)
                for name, values in facts.items():
                    values[start : start + CHUNK] = getattr(part, name)
                for index, reason in part.unreadable.items():
                    unreadable[start + index] = reason
                if chunk in missing:
                    tally.add("done", len(files))
                yield part.pixels

        shape = (len(paths), *image_format.shape)
        pixels = collected(parts(), shape, np.dtype(np.uint8), cache)
    for outdated in set(cache.iterdir()) - files_of.keys():
        outdated.unlink()
    return DecodedImages(pixels, **facts, unreadable=unreadable)


def _decode(
    chunk: Path, folder: Path, paths: Sequence[Path], image_format: ImageFormat, pool: Executor
) -> DecodedImages:
    """Decode the images of a chunk and keep it."""
    count = len(paths)
    pixels = np.zeros((count, *image_format.shape), np.uint8)
    facts = {name: np.zeros(count, kind) for name, kind in FACTS.items()}
    images = DecodedImages(pixels, **facts, unreadable={})
    results = pool.map(lambda path: decoding.decode(path, folder, image_format), paths)
    for index, result in enumerate(results):
        if isinstance(result, str):
            images.unreadable[index] = result
        else:
            for name in ARRAYS:
                getattr(images, name)[index] = getattr(result, name)
    buffer = io.BytesIO()
    arrays = {name: getattr(images, name) for name in ARRAYS}
    np.savez(buffer, unreadable=np.array(json.dumps(images.unreadable)), **arrays)
    write_bytes(chunk, buffer.getvalue())
    return images


def _load(chunk: Path) -> DecodedImages | None:
    """Return a kept chunk, or None where it is missing or corrupted, by the checksums of zip."""
    try:
        with np.load(chunk, allow_pickle=False) as file:
            reasons = json.loads(str(file["unreadable"]))
            unreadable = {int(index): reason for index, reason in reasons.items()}
            arrays = {name: file[name] for name in ARRAYS}
            return DecodedImages(**arrays, unreadable=unreadable)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _key(folder: Path, paths: Sequence[Path]) -> str:
    files = []
    for path in paths:
        status = path.stat() if path.exists() else path.lstat()  # a broken link
        files.append((path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns))
    code = [code_digest(module.__name__) for module in (decoding, metadata, white)]
    return _digest([[PIL.__version__, *code], files])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:20]
