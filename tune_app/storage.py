"""A folder on any filesystem that fsspec supports (local, s3://, gs://, memory://), with atomic writes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from search_spaces.errors import StudyError
from search_spaces.files import UNFINISHED, create_file, open_regular, url_scheme, write_file

__all__ = ["BEST", "LAST", "UNFINISHED", "Folder", "StorageError"]

BEST, LAST = "best.pt", "last.pt"
"""Names of the checkpoint files of a trial."""

_PACKAGES = {"s3": "`pip install 'tune-app[s3]'`", "gs": "`pip install gcsfs`", "gcs": "`pip install gcsfs`"}
# botocore retries temporary failures (503, throttling, connections, no answer) with exponential backoff. A server that
# refuses is asked for about two minutes, one that never answers for about ten.
_S3: dict[str, Any] = {
    "retries": {"mode": "standard", "max_attempts": 10},
    "connect_timeout": 10,
    "read_timeout": 20,
}
_ROUNDS = 2
"""How often s3fs asks again after all of botocore's attempts."""


class StorageError(StudyError, OSError):
    """A remote store that does not answer, or denies a request, after all retries."""


class Folder:
    """A folder that may not exist yet. Names are relative paths with ``/``."""

    def __init__(self, url: str | Path) -> None:
        """Open the folder at a path or URL; StudyError for a scheme that is not allowed or whose package is missing."""
        import fsspec  # takes a tenth of a second: not for --help

        scheme = url_scheme(str(url))
        try:
            options = _s3_options() if scheme in ("s3", "s3a") else {}
            self.filesystem, self.root = fsspec.core.url_to_fs(str(url), use_listings_cache=False, **options)
        except (ImportError, ValueError) as error:
            remedy = f"; {scheme}:// needs {_PACKAGES[scheme]}" if scheme in _PACKAGES else ""
            raise StudyError(f"{url}: cannot be opened: {error}{remedy}") from None
        if self._is_s3:
            self.filesystem.retries = _ROUNDS
        self.url = str(url)

    def __truediv__(self, name: str) -> Folder:
        """Return the folder ``name`` inside this one."""
        inner = object.__new__(Folder)
        inner.filesystem, inner.root = self.filesystem, f"{self.root.rstrip('/')}/{name}"
        inner.url = f"{self.url.rstrip('/')}/{name}"
        return inner

    def __repr__(self) -> str:
        return f"Folder({self.url!r})"

    @property
    def is_local(self) -> bool:
        """Whether the folder is on this machine's filesystem, so that other machines may not see it."""
        from fsspec.implementations.local import LocalFileSystem

        return isinstance(self.filesystem, LocalFileSystem)

    def path(self, name: str) -> str:
        """Return the filesystem's own path of a file in this folder."""
        return f"{self.root.rstrip('/')}/{name}"

    def exists(self, name: str) -> bool:
        """Return whether the file ``name`` exists."""
        with self._remote_errors("accessed"):
            return bool(self.filesystem.exists(self.path(name)))

    def names(self, suffix: str = "") -> list[str]:
        """Return the sorted names of this folder's files with that suffix, without hidden and temporary files."""
        names = (str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in self._listed(detail=False))
        return sorted(name for name in names if name.endswith(suffix) and not name.startswith("."))

    def entries(self) -> list[dict[str, Any]]:
        """Return what the filesystem says of each file and folder here (name, type, size); none where there is none."""
        return self._listed(detail=True)

    def _listed(self, detail: bool) -> list[Any]:
        try:
            with self._remote_errors("listed"):
                return list(self.filesystem.ls(self.root, detail=detail))
        except FileNotFoundError:
            return []

    def read(self, name: str) -> bytes:
        """Return a file's content; FileNotFoundError where there is none, StudyError where it is no regular file."""
        if self.is_local:
            with open_regular(self.path(name)) as file:
                return file.read()
        with self._remote_errors("read"):
            return bytes(self.filesystem.cat_file(self.path(name)))

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically: on a local disk under a hidden name, flushed and renamed; elsewhere by one put."""
        path = self.path(name)
        if not self.is_local:
            with self._remote_errors("written"):
                self.filesystem.pipe_file(path, content)
            return
        write_file(path, content)

    def create(self, name: str, content: bytes) -> bool:
        """Write a file where there is none, and return whether it was: of several that try at once, one succeeds."""
        path = self.path(name)
        try:
            if self.is_local:
                create_file(path, content)
            else:
                with self._remote_errors("written"):
                    self.filesystem.pipe_file(path, content, mode="create")
        except FileExistsError:
            return False
        except StorageError as error:
            if _condition_failed(error):
                return False
            raise
        return True

    def version(self, name: str) -> str | None:
        """Return a name for the present content of a file, for `replace`; None where there is no file."""
        try:
            if self._is_s3:
                with self._remote_errors("read"):
                    self.filesystem.invalidate_cache(self.path(name))
                    return str(self.filesystem.info(self.path(name))["ETag"])
            return hashlib.sha256(self.read(name)).hexdigest()
        except FileNotFoundError:
            return None

    def replace(self, name: str, content: bytes, version: str | None) -> bool:
        """Write a file where it still has that version, and return whether that was so.

        On S3 the server decides. Elsewhere a change between the comparison and the write is not noticed here.
        """
        if not self._is_s3:
            if self.version(name) != version:
                return False
            self.write(name, content)
            return True
        try:
            with self._remote_errors("written"):
                self.filesystem.pipe_file(self.path(name), content, IfMatch=version or "")
        except FileNotFoundError:
            return False
        except StorageError as error:
            if _condition_failed(error):
                return False
            raise
        return True

    @property
    def _is_s3(self) -> bool:
        protocol = self.filesystem.protocol
        return "s3" in ((protocol,) if isinstance(protocol, str) else protocol)

    def remove(self, name: str) -> None:
        """Remove a file, or a folder with its content; does nothing if there is none."""
        with suppress(FileNotFoundError, NotADirectoryError), self._remote_errors("removed"):
            self.filesystem.rm(self.path(name), recursive=True)

    def remove_files(self, names: Sequence[str]) -> None:
        """Remove files of this folder in order; on an object store in batches."""
        if self.is_local:
            for name in names:
                Path(self.path(name)).unlink(missing_ok=True)
        elif names:
            with suppress(FileNotFoundError), self._remote_errors("removed"):
                self.filesystem.rm([self.path(name) for name in names])

    @contextmanager
    def _remote_errors(self, action: str) -> Iterator[None]:
        """Convert any error of a remote store into a StorageError with the URL and the remedy."""
        try:
            yield
        except (FileNotFoundError, FileExistsError, NotADirectoryError):
            raise
        except Exception as error:
            if self.is_local:
                raise
            raise StorageError(
                f"{self.url} cannot be {action}: {type(error).__name__}: {error}; check the address, the credentials "
                "and the network (AWS_ENDPOINT_URL for your own server)"
            ) from error


def _s3_options() -> dict[str, Any]:
    from tune_app.s3_requests import LimitedSession  # needs the package of s3://

    return {"config_kwargs": _S3 | {"http_session_cls": LimitedSession}}


def _condition_failed(error: BaseException | None) -> bool:
    """Return whether a request failed because the file was changed by another, as S3 says it."""
    while error is not None:
        code = getattr(error, "response", {}).get("Error", {}).get("Code")
        if code in ("PreconditionFailed", "ConditionalRequestConflict", "412"):
            return True
        error = error.__cause__
    return False
