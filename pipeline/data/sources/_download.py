"""Files that the authors of a dataset publish: found on this machine, or fetched, and proved to be the published ones.

Separate from what stands in them (`idx.py`, `cifar.py`), so that every such dataset is found, fetched and refused alike.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Protocol, Self
from urllib.error import HTTPError
from urllib.request import urlopen

from pydantic import Field, model_validator

from pipeline.config.settings import Settings
from pipeline.data.arrays import Parts
from pipeline.data.paths import meant
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import new_folder

CACHE = Path(".data")  # outside DVC's outputs: a stage that runs anew fetches nothing anew
PATIENCE = 60  # seconds without a byte
LIMIT = 200_000_000  # bytes, more than any of the files has, packed or not

Read = Callable[[Path], Parts]


class Stream(Protocol):
    """A file, packed or not, or an answer."""

    def read(self, size: int, /) -> bytes:
        """So many bytes, or what is left of them."""


class Source(Settings):
    """Where the files lie; null: where a package of the system or an earlier download put them. `download` fetches them."""

    path: str | None = Field(None, min_length=1)
    download: bool = False

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.path and self.download:
            raise ValueError("path, or download: true, which has a folder of its own")
        return self


@dataclass(frozen=True)
class Published:
    """A dataset's files, and the address of the folder they are published in; `installed`: where a package puts them;
    `folder`: what they unpack to, which does as well."""

    name: str
    address: str
    files: tuple[str, ...]
    package: str = ""
    installed: Path | None = None
    folder: str = ""

    def parts(self, source: Source, read: Read) -> Parts:
        """What `read` makes of the first place there is, fetched where there is none and that is allowed. Raises Refusal."""
        own = [self.installed] if self.installed else []
        places = [meant(source.path)] if source.path else [*own, CACHE / self.name]
        for place in places:
            if place.exists():
                return read(place)
        if source.download:
            return self._fetched(read)
        ways = f"source.path that names {self._held}, these files in {CACHE / self.name}, or source.download: true"
        ways += f"; or: apt-get install {self.package}" if self.package else ""
        raise Refusal(f"{self.name}: nothing at {' or '.join(map(str, places))}; allowed is {ways}")

    @property
    def _held(self) -> str:
        files = ", ".join(self.files)
        return (
            f"the folder {self.folder}, or one with {files}"
            if self.folder
            else f"a folder with {files}"
        )

    def _fetched(self, read: Read) -> Parts:
        """Fetches everything into the cache, which has it once `read` took it, or not at all."""
        with new_folder(CACHE / self.name) as staging:
            for name in self.files:
                print(f"{self.name}: fetching {self.address}/{name}", flush=True)
                (staging / name).write_bytes(self._answer(f"{self.address}/{name}"))
            try:
                return read(staging)
            except Refusal as refusal:
                raise Refusal(
                    *(line.replace(str(staging), self.address) for line in refusal.lines)
                ) from None

    def _answer(self, address: str) -> bytes:
        try:
            with urlopen(address, timeout=PATIENCE) as answer:  # noqa: S310 - an address that stands in this project
                return bounded(answer, address)
        except (OSError, HTTPException) as error:
            if isinstance(error, HTTPError):
                error.close()
            raise Refusal(
                f"{address}: cannot be fetched ({error}); allowed is source.path: {self._held}"
            ) from None


def bounded(stream: Stream, name: Path | str, limit: int = LIMIT) -> bytes:
    """All that a stream holds. Raises Refusal where that is more than `limit` bytes, before it fills the memory."""
    content = stream.read(limit + 1)
    if len(content) > limit:
        raise Refusal(f"{name}: holds more than {limit} bytes; allowed is the published file")
    return content


def verified(content: bytes, md5: str, name: Path | str) -> bytes:
    """The same content. Raises Refusal where it is not what was published."""
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise Refusal(f"{name}: its md5 is {found}; allowed is the published file, {md5}")
    return content
