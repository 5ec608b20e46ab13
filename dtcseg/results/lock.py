"""One run at a time on a results folder, and a dead run blocks nobody.

The lock is one of the operating system (`flock`, on Windows a locked byte): it goes away with the process that holds
it, even after kill -9. The process id in the file only serves the message, and decides where the file system knows
no locks (some network drives).
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from dtcseg.errors import UsageError
from dtcseg.results.text import one_line

_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL}


class FolderLock:
    """The lock of a results folder, or of one log in a folder; a context manager.

    Parameters
    ----------
    folder : Path
    name : str
        Of the lock's file in it.
    busy, remedy : str
        What the message says where another process holds the lock, and what to do about it.

    Raises
    ------
    UsageError
        Another process holds it.
    """

    def __init__(
        self,
        folder: Path,
        name: str = ".lock",
        busy: str = "another run is writing here",
        remedy: str = "wait for its end",
    ) -> None:
        self._folder = folder
        self._path = folder / name
        self._busy = busy
        self._remedy = remedy
        self._handle = -1

    def __enter__(self) -> FolderLock:
        """Take the lock or say who has it."""
        while self._handle < 0:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            owner = os.pread(handle, 32, 0) if hasattr(os, "pread") else b""
            if not _try_lock(handle, owner):
                os.close(handle)
                held_by = f" (process {one_line(owner.decode('ascii', 'replace'))})" if owner else ""
                raise UsageError(f"{one_line(self._folder)}: {self._busy}{held_by}; {self._remedy}")
            if _is_file(handle, self._path):
                self._handle = handle
            else:  # the run before removed the file between our opening and locking it
                os.close(handle)
        os.ftruncate(self._handle, 0)
        with suppress(OSError):  # on a full disk the lock holds all the same, only its message says less
            os.write(self._handle, str(os.getpid()).encode("ascii"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the file, then let go of it, so that nobody locks a file that is going away."""
        with suppress(OSError):
            self._path.unlink()
        with suppress(OSError):  # a handle on a share that went away
            os.close(self._handle)
        self._handle = -1

    def is_held(self) -> bool:
        """Whether the file is still the one that was locked: not where its folder went away, or is another now."""
        return self._handle >= 0 and (_is_file(self._handle, self._path) or self._take_back())

    def _take_back(self) -> bool:
        """Lock the file anew where a share came back and the old handle did not (it answers nothing any more)."""
        try:
            os.fstat(self._handle)
            return False
        except OSError:
            pass
        try:
            handle = os.open(self._path, os.O_RDWR)  # never made anew: an empty mount point has none
        except OSError:
            return False
        if os.read(handle, 32) != str(os.getpid()).encode("ascii") or not _try_lock(handle, b""):
            os.close(handle)
            return False
        if handle != self._handle:
            with suppress(OSError):
                os.close(self._handle)
        self._handle = handle
        return True


def _is_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except OSError:
        return False


def _try_lock(handle: int, owner: bytes) -> bool:
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        return not _is_alive(owner)
    return True


def _is_alive(owner: bytes) -> bool:
    if not owner.isdigit() or int(owner) == os.getpid():  # our own number: that of a dead run in another container
        return False
    try:
        os.kill(int(owner), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
