"""Files that are there whole or not at all, whatever kills the program."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dtcseg.errors import DtcsegError
from dtcseg.results.text import one_line

_MARK = ".dtcseg-tmp"
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class OutputError(DtcsegError):
    """The results folder cannot be written any more (disk full, drive gone); the run ends (exit status 1)."""


class DiskFull(OutputError):
    """There is no room left; unlike a share that is away, that does not mend itself."""


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Turn every failure to write into one line that names the folder."""
    try:
        yield
    except OSError as error:
        name = one_line(folder)
        if error.errno in _FULL:
            raise DiskFull(
                f"{name}: the disk is full; make room and run the same command again, finished slides are kept"
            ) from error
        raise OutputError(f"{name}: cannot be written ({one_line(error.strerror or error)})") from error


def write_file(path: Path, content: bytes) -> None:
    """Write a file beside its place, force it to disk, then put it in its place in one step."""
    temporary = path.with_name(f".{secrets.token_hex(6)}{_MARK}")
    try:
        write_through(temporary, content)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def writing_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to fill, and put it in the place of `path` when the block ends without an error.

    A kill leaves the old folder, the new one, or (between two renames) none, never a part. The files in it are not
    forced to disk one by one: this is for what can be made again and may have thousands of them.
    """
    stage, old = (path.with_name(f".{secrets.token_hex(6)}{_MARK}") for _ in range(2))
    try:
        stage.mkdir()
        yield stage
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.exists():
            os.rename(path, old)
        os.rename(stage, path)
    finally:
        for left in (stage, old):
            shutil.rmtree(left, ignore_errors=True)
    sync_folder(path.parent)


def write_through(path: Path, content: bytes) -> None:
    """Write a file and force it to disk before returning."""
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to disk (POSIX; elsewhere a rename is durable enough)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # some network file systems cannot sync a folder; the files themselves are synced
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise
    finally:
        os.close(handle)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed run left beside the files of this folder (not of folders in it)."""
    for path in folder.glob(f".*{_MARK}"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
