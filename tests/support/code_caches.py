"""The caches of what is known of source files."""

from pipeline.runtime import behaviour


def forget_code() -> None:
    """Empty the caches, so that source files are read again."""
    for cached in (behaviour.code_digest, behaviour._source, behaviour._file_of):
        cached.cache_clear()
