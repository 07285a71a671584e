"""Find published dataset files on this machine or download them, and verify them."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Self
from urllib.error import HTTPError
from urllib.request import urlopen

from pydantic import Field, model_validator

from pipeline.config.settings import Settings
from pipeline.config.validation import expectation
from pipeline.data.arrays import Splits
from pipeline.data.paths import cache_folder, data_path
from pipeline.runtime.errors import Refusal
from pipeline.runtime.files import new_folder

TIMEOUT = 60  # seconds without a byte
LIMIT = 200_000_000  # bytes, more than any of the published files

Read = Callable[[Path], Splits]


class Source(Settings):
    """Where the files are; by default where a system package or an earlier download put them."""

    path: str | None = Field(None, min_length=1)
    download: bool = False

    @model_validator(mode="after")
    def _path_or_download(self) -> Self:
        if self.path and self.download:
            raise ValueError("path, or download: true, which uses its own folder")
        return self


@dataclass(frozen=True)
class PublishedDataset:
    """The files of a dataset and the URL of the folder in which they are published.

    `package` is a system package that installs them at `installed`; `folder` is the name of the
    folder to which they unpack and which may be given instead.
    """

    name: str
    url: str
    files: tuple[str, ...]
    package: str = ""
    installed: Path | None = None
    folder: str = ""

    def load(self, source: Source, read: Read) -> Splits:
        """Return the result of `read` for the first existing location, downloaded where allowed."""
        locations = [cache_folder() / self.name]
        if source.path:
            locations = [data_path(source.path)]
        elif self.installed:
            locations.insert(0, self.installed)
        for location in locations:
            if location.exists():
                return read(location)
        if source.download:
            return self._download(read)
        problem = f"missing; expected {self._folder}"
        if source.path:
            problem = expectation(source.path, self._folder, "(does not exist)")
        package = f"; or: apt-get install {self.package}" if self.package else ""
        raise Refusal(
            f"source.path: {problem}; or put these files into {cache_folder() / self.name}; "
            f"or set source.download: true{package}"
        )

    @property
    def _folder(self) -> str:
        files = f"a folder with {', '.join(self.files)}"
        return f"the folder {self.folder} or {files}" if self.folder else files

    def _download(self, read: Read) -> Splits:
        """Download all files; the cache keeps them only if `read` accepts them."""
        with new_folder(cache_folder() / self.name) as staging:
            for name in self.files:
                print(f"{self.name}: downloading {self.url}/{name}", flush=True)
                (staging / name).write_bytes(self._request(f"{self.url}/{name}"))
            try:
                return read(staging)
            except Refusal as refusal:
                lines = [line.replace(str(staging), self.url) for line in refusal.lines]
                raise Refusal(*lines) from None

    def _request(self, url: str) -> bytes:
        try:
            with urlopen(url, timeout=TIMEOUT) as response:  # noqa: S310 - a URL in this package
                return read_limited(response, url)
        except (OSError, HTTPException) as error:
            if isinstance(error, HTTPError):
                error.close()
            raise Refusal(
                f"{url}: download failed ({error}); expected source.path of {self._folder}"
            ) from None


def read_limited(
    stream: IO[bytes] | io.BufferedIOBase, name: Path | str, limit: int = LIMIT
) -> bytes:
    """Return the content of a stream.

    Raises:
        Refusal: It exceeds `limit` bytes.
    """
    content = stream.read(limit + 1)
    if len(content) > limit:
        raise Refusal(f"{name}: more than {limit} bytes; expected the published file")
    return content


def require_md5(content: bytes, md5: str, name: Path | str) -> bytes:
    """Return the content.

    Raises:
        Refusal: It is not the published one.
    """
    received = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if received != md5:
        raise Refusal(f"{name}: md5 {received}; expected the published file, {md5}")
    return content
