"""Files whole or not at all, and one run at a time."""

import errno
import os
import subprocess
import sys

import pytest

from dtcseg.errors import UsageError
from dtcseg.results import atomic
from dtcseg.results.atomic import OutputError, remove_leftovers, write_file, writing_to
from dtcseg.results.lock import FolderLock


def test_write_file_replaces_whole(tmp_path):
    path = tmp_path / "a.csv"
    write_file(path, b"old")
    write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.csv"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, failing):
    path = tmp_path / "a.csv"
    write_file(path, b"old")

    def fail(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic.os, failing, fail)
    with pytest.raises(OutputError, match=r"disk is full"), writing_to(tmp_path):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.csv"]


def test_other_failures_name_the_folder_too(tmp_path):
    with pytest.raises(OutputError, match=rf"{tmp_path.name}: cannot be written \(Read-only"), writing_to(tmp_path):
        raise OSError(errno.EROFS, "Read-only file system")


def test_leftovers_go_and_others_stay(tmp_path):
    (tmp_path / ".abc.dtcseg-tmp").touch()
    (tmp_path / ".hidden").touch()
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == [".hidden"]


def test_second_run_is_refused_and_told_who_has_it(tmp_path):
    with (
        FolderLock(tmp_path),
        pytest.raises(UsageError, match=rf"another run is writing here \(process {os.getpid()}\)"),
        FolderLock(tmp_path),
    ):
        pass
    with FolderLock(tmp_path):
        assert (tmp_path / ".lock").exists()
    assert not (tmp_path / ".lock").exists()


def test_dead_run_blocks_nobody(tmp_path):
    script = (
        "import os, signal, pathlib, sys; from dtcseg.results.lock import FolderLock\n"
        "FolderLock(pathlib.Path(sys.argv[1])).__enter__(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    process = subprocess.run([sys.executable, "-c", script, str(tmp_path)])
    assert process.returncode == -9
    assert (tmp_path / ".lock").exists()
    with FolderLock(tmp_path):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())


@pytest.mark.parametrize(("owner", "free"), [("", True), ("1", False), ("999999999", True), ("rubbish", True)])
def test_without_locks_of_the_file_system_the_process_decides(tmp_path, monkeypatch, owner, free):
    fcntl = pytest.importorskip("fcntl")

    def no_locks(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    (tmp_path / ".lock").write_text(owner)
    if free:
        with FolderLock(tmp_path):
            pass
    else:
        with pytest.raises(UsageError, match="another run"), FolderLock(tmp_path):
            pass
