"""Verdict logs against kill -9, torn lines and several processes at once."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from fake_results import score

from dtcseg.errors import VerdictError
from dtcseg.verdicts import open_log, replay, verify
from dtcseg.verdicts.heads import head_path, read_head

# Says verdicts until it is killed; tells each one that was acknowledged. Long outlines make for long writes.
_SPEAKER = """
import math, pathlib, sys
from dtcseg.verdicts import open_log, read_candidates
folder, reader, times = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
cells = read_candidates(folder)
with open_log(folder, reader) as log:
    print("open", flush=True)
    for n in range(times):
        if n % 2:
            ring = [(n + math.cos(t / 300), math.sin(t / 300)) for t in range(1500)]
            entry = log.correct(cells[n % 3], ring)
        else:
            entry = log.give(cells[n % 3], "tumour", comment=f"number {n}")
        print(entry.n, entry.hash, flush=True)
"""

# Is killed by itself between two parts of a line, after two entries.
_HALF = """
import os, pathlib, signal, sys
from dtcseg.verdicts import open_log, read_candidates
folder, part = pathlib.Path(sys.argv[1]), int(sys.argv[2])
cells = read_candidates(folder)
real = os.write
log = open_log(folder, "anna")
log.give(cells[0], "tumour")
log.give(cells[1], "probable")
def half(handle, data):
    real(handle, bytes(data)[:part])
    os.kill(os.getpid(), signal.SIGKILL)
os.write = half
log.give(cells[2], "artefact")
"""

posix = pytest.mark.skipif(sys.platform == "win32", reason="no kill -9")


def speak(folder, reader, times):
    arguments = [sys.executable, "-c", _SPEAKER, str(folder), reader, str(times)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def acknowledged(text):
    whole = text[: text.rfind("\n") + 1].splitlines()
    return [(int(n), digest) for n, digest in (line.split() for line in whole if line != "open")]


@posix
@pytest.mark.slow
def test_killed_at_random_nothing_acknowledged_is_lost(tmp_path):
    folder, cells = score(tmp_path)
    chance = random.Random(5)
    known = []
    for _ in range(8):
        child = speak(folder, "anna", 100_000)
        assert child.stdout.readline() == "open\n"
        first = "".join(child.stdout.readline() for _ in range(chance.randrange(1, 40)))
        time.sleep(chance.uniform(0.0, 0.01))
        child.send_signal(signal.SIGKILL)
        out, err = child.communicate()
        assert not err
        known += acknowledged(first + out)
        (read,) = replay(folder).reads
        entries = [(entry.n, entry.hash) for entry in read.entries]
        assert set(known) <= set(entries)
        assert len(entries) <= len(known) + 8  # at most the one in flight each time
    with open_log(folder, "anna") as log:
        log.give(cells[0], "tumour")
    assert len(known) > 100
    assert verify(folder.parent).sound


@posix
@pytest.mark.parametrize("part", [1, 200, 100_000])
def test_killed_in_mid_write(tmp_path, part):
    folder, cells = score(tmp_path)
    done = subprocess.run([sys.executable, "-c", _HALF, str(folder), str(part)], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    path = folder / "verdicts" / "anna.jsonl"
    torn = path.read_bytes().rpartition(b"\n")[2]
    verdicts = replay(folder)
    (read,) = verdicts.reads
    if part == 100_000:  # the line was whole, though nobody was told
        assert len(read.entries) == 3
        return
    assert len(torn) == part
    assert verdicts.unfinished == ("anna.jsonl",)
    assert [state.say for state in read.cells.values()] == ["tumour", "probable"]
    (problem,) = verify(folder.parent).problems
    assert (problem.file, problem.line) == ("a/verdicts/anna.jsonl", 4)
    with open_log(folder, "anna") as log:
        entry = log.give(cells[2], "skip")
    (note,) = entry.values["torn"]
    assert note == {"bytes": part, "file": note["file"], "sha256": hashlib.sha256(torn).hexdigest()}
    assert (folder / "verdicts" / note["file"]).read_bytes() == torn
    assert verify(folder.parent).sound
    with open_log(folder, "anna") as log:
        assert "torn" not in log.give(cells[2], "tumour").values  # told once
    (folder / "verdicts" / note["file"]).unlink()
    (problem,) = verify(folder.parent).problems
    assert problem.file == f"a/verdicts/{note['file']}"


def test_torn_anywhere(tmp_path):
    folder, cells = score(tmp_path)
    with open_log(folder, "anna") as log:
        log.give(cells[0], "tumour")
        path = log.path
    whole = path.read_bytes()
    head = head_path(path).read_bytes()
    with open_log(folder, "anna") as log:
        log.give(cells[1], "tumour")
    longer = path.read_bytes()
    for end in sorted({*range(len(whole) + 1, len(longer), 40), len(longer) - 1}):
        for aside in path.parent.glob("*.torn"):
            aside.unlink()
        path.write_bytes(longer[:end])
        head_path(path).write_bytes(head)  # the last entry was never acknowledged
        with open_log(folder, "anna") as log:
            assert len(log.state.entries) == 1
        (aside,) = path.parent.glob("*.torn")
        assert aside.read_bytes() == longer[len(whole) : end]
        assert path.read_bytes() == whole


def test_torn_header(tmp_path):
    folder, cells = score(tmp_path)
    path = folder / "verdicts" / "anna.jsonl"
    path.write_bytes(b'{"format":"dtcseg ver')
    assert replay(folder).reads == ()
    with open_log(folder, "anna") as log:
        log.give(cells[0], "tumour")
    assert len(replay(folder).reads[0].entries[0].values["torn"]) == 1
    assert verify(folder.parent).sound


def test_torn_by_a_power_cut(tmp_path):
    folder, cells = score(tmp_path)
    with open_log(folder, "anna") as log:
        log.give(cells[0], "tumour")
        path = log.path
    for junk in (b"\0" * 600, b'{"after":"' + b"\0" * 300 + b'"}\n'):
        with open(path, "ab") as file:
            file.write(junk)
        assert replay(folder).unfinished == ("anna.jsonl",)
        with open_log(folder, "anna") as log:
            log.give(cells[0], "tumour")
        assert verify(folder.parent).sound


def test_a_tear_is_told_even_when_the_next_opening_says_nothing(tmp_path):
    folder, cells = score(tmp_path)
    with open_log(folder, "anna") as log:
        path = log.path
    with open(path, "ab") as file:
        file.write(b"half")
    with open_log(folder, "anna"):
        pass
    with open_log(folder, "anna") as log:
        assert log.give(cells[0], "tumour").values["torn"][0]["bytes"] == 4


def test_an_acknowledged_end_is_never_set_aside(tmp_path):
    folder, cells = score(tmp_path)
    with open_log(folder, "anna") as log:
        log.give(cells[0], "tumour")
        path = log.path
    for cut in (1, 30):
        short = path.read_bytes()[:-cut]
        path.write_bytes(short)
        with pytest.raises(VerdictError, match="had 1 entries and entries are missing at its end"):
            open_log(folder, "anna")
        assert path.read_bytes() == short


def test_readers_at_once(tmp_path):
    folder, _ = score(tmp_path)
    children = [speak(folder, reader, 60) for reader in ("anna", "ben", "cleo")]
    told = [acknowledged(child.communicate()[0]) for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    reads = replay(folder).reads
    assert [read.reader for read in reads] == ["anna", "ben", "cleo"]
    assert [[(entry.n, entry.hash) for entry in read.entries] for read in reads] == told
    assert any("seen" in entry.values for entry in reads[0].entries)
    assert verify(folder.parent).sound


def test_verify_beside_writers(tmp_path):
    folder, _ = score(tmp_path)
    children = [speak(folder, reader, 60) for reader in ("anna", "ben")]
    checks = 0
    try:
        while any(child.poll() is None for child in children):
            found = verify(folder.parent)
            half_written = "the line is not complete"
            assert all(half_written in problem.what for problem in found.problems), found.problems
            checks += 1
    finally:
        for child in children:
            child.kill()
            child.communicate()
    assert checks > 3
    assert [child.returncode for child in children] == [0, 0]
    assert verify(folder.parent).sound


def test_verify_while_a_log_is_begun(tmp_path, monkeypatch):
    """The head record was not there yet when verify looked for it, but the log had entries when that was read."""
    folder, cells = score(tmp_path)
    with open_log(folder, "anna") as log:
        log.give(cells[0], "tumour")
        path = log.path
    looks = []

    def late(path):
        looks.append(path)
        return None if len(looks) == 1 else read_head(path)

    monkeypatch.setattr("dtcseg.verdicts.audit.read_head", late)
    assert verify(folder.parent).sound
    assert len(looks) == 2
    monkeypatch.setattr("dtcseg.verdicts.audit.read_head", read_head)
    head_path(path).unlink()
    (problem,) = verify(folder.parent).problems
    assert "the head record is missing" in problem.what


def test_verify_while_a_second_log_is_begun(tmp_path, monkeypatch):
    """An entry tells of a log that was begun after the logs were listed and before its head record was there."""
    folder, cells = score(tmp_path)
    with open_log(folder, "ben") as ben:
        ben.give(cells[0], "tumour")
        with open_log(folder, "anna") as anna:
            assert "ben.jsonl" in anna.give(cells[0], "tumour").values["seen"]
    monkeypatch.setattr("dtcseg.verdicts.audit.log_files", lambda folder: [anna.path])
    monkeypatch.setattr("dtcseg.verdicts.audit.HEAD_SUFFIX", ".none")
    assert verify(folder.parent).sound
    ben.path.unlink()
    (problem,) = verify(folder.parent).problems
    assert "the log is missing" in problem.what


def test_one_reader_twice(tmp_path):
    folder, cells = score(tmp_path)
    child = speak(folder, "anna", 100_000)
    try:
        assert child.stdout.readline() == "open\n"
        message = rf"the log of 'ANNA' is open in another window or process \(process {child.pid}\); close it there"
        with pytest.raises(VerdictError, match=message):
            open_log(folder, "ANNA")
        with open_log(folder, "ben") as log:
            log.give(cells[0], "tumour")
    finally:
        child.kill()
        child.communicate()
    with open_log(folder, "anna") as log:  # a dead process blocks nobody
        log.give(cells[0], "tumour")
        with pytest.raises(VerdictError, match="is open in another window"):
            open_log(folder, "anna")


def test_one_reader_twice_without_locks(tmp_path, monkeypatch):
    """Some network drives know no locks, and a process number says nothing about another computer."""
    folder, cells = score(tmp_path)
    monkeypatch.setattr("dtcseg.results.lock._try_lock", lambda handle, owner: True)
    with open_log(folder, "anna") as one, open_log(folder, "anna") as other:
        one.give(cells[0], "tumour")
        for _ in range(2):
            with pytest.raises(VerdictError, match=r"changed by another process|open it again"):
                other.give(cells[1], "artefact")
        one.give(cells[1], "tumour")
    assert [state.say for state in replay(folder).reads[0].cells.values()] == ["tumour", "tumour"]
    assert verify(folder.parent).sound


def test_a_file_put_in_its_place_is_noticed(tmp_path):
    folder, cells = score(tmp_path)
    with open_log(folder, "anna") as log:
        log.give(cells[0], "tumour")
        shutil.copy(log.path, log.path.with_suffix(".copy"))
        os.replace(log.path.with_suffix(".copy"), log.path)
        with pytest.raises(VerdictError, match="changed by another process"):
            log.give(cells[1], "tumour")
    with open_log(folder, "anna") as log:
        log.give(cells[1], "tumour")
    assert len(json.loads(log.path.read_text().splitlines()[-1])["hash"]) == 64
