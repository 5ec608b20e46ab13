"""One reader's log: what is said is on disk, in its words, and can be undone but not removed."""

import errno
import hashlib
import json
import os
import re
import subprocess
import sys

import pytest
from fake_results import score, square

from dtcseg.errors import VerdictError
from dtcseg.verdicts import CellRef, Shown, added_cells, new_cell, open_log, read_candidates, replay, verify
from dtcseg.verdicts.names import log_stem


@pytest.fixture
def slide(tmp_path):
    return score(tmp_path)


def lines_of(path):
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def test_first_line_says_whose_log_it_is(slide):
    folder, _ = slide
    with open_log(folder, "Dr  Anna Krüger") as log:
        path = log.path
    header = lines_of(path)[0]
    assert re.fullmatch(r"dr-anna-kruger-[0-9a-f]{10}\.jsonl", path.name)
    assert header["reader"] == "Dr Anna Krüger"
    assert (header["format"], header["version"], header["slide"]) == ("dtcseg verdicts", 1, "a")
    assert header["weights"] == {"name": "fake", "sha256": "f" * 64}
    assert header["record"] == json.loads((folder / "slide.json").read_text())["key"]
    assert header["program"]
    assert header["mpp_um"] == 0.5


def test_entry_says_who_when_what_before_and_after(slide):
    folder, cells = slide
    with open_log(folder, "anna", shown=Shown("uncertainty", calls=False, verdicts=False)) as log:
        log.give(cells[0], "probable", comment="pale", rank=4)
        log.give(cells[0], "tumour")
        path = log.path
    header, first, second = lines_of(path)
    assert (first["before"], first["after"], first["comment"]) == ("", "probable", "pale")
    assert (second["before"], second["after"]) == ("probable", "tumour")
    assert first["shown"] == {"calls": False, "order": "uncertainty", "rank": 4, "verdicts": False}
    assert first["weights"] == "f" * 64
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["when"])
    assert [first["prev"], second["prev"]] == [header["hash"], first["hash"]]
    assert first["cell"]["id"] == cells[0].id
    assert first["cell"]["outline_px"][0] == list(cells[0].outline_px[0])
    assert "outline_px" not in second["cell"]  # it stands in the log already, by its hash
    assert second["cell"]["outline_sha256"] == first["cell"]["outline_sha256"]


def test_hash_is_that_of_the_line_without_it(slide):
    folder, cells = slide
    with open_log(folder, "anna") as log:
        log.give(cells[0], "tumour", comment="é\n😀")
        path = log.path
    for entry in lines_of(path):
        digest = entry.pop("hash")
        canonical = json.dumps(entry, sort_keys=True, separators=(",", ":"))
        assert hashlib.sha256(canonical.encode("ascii")).hexdigest() == digest


def test_goes_on_where_it_stopped(slide):
    folder, cells = slide
    with open_log(folder, "Anna") as log:
        log.give(cells[0], "tumour")
    with open_log(folder, " ANNA ") as log:
        assert log.state.cells[cells[0].id].say == "tumour"
        log.undo()
    (read,) = replay(folder).reads
    assert read.reader == "Anna"
    assert not read.cells
    assert [entry.kind for entry in read.entries] == ["verdict", "undo"]


def test_all_words(slide):
    folder, cells = slide
    with open_log(folder, "anna") as log:
        for word in ("tumour", "probable", "uninterpretable", "haematopoietic", "artefact", "skip"):
            log.give(cells[0], word)
            assert log.state.cells[cells[0].id].say == word
        with pytest.raises(VerdictError, match="is no verdict here; it must be one of tumour, probable"):
            log.give(cells[0], "benign")
        assert len(log.state.entries) == 6


def test_outlines_additions_and_comments(slide):
    folder, cells = slide
    with open_log(folder, "anna") as log:
        log.correct(cells[0], square(100, 200), nucleus_px=square(100, 200, 5))
        log.comment(cells[0], "see also 3")
        (added,) = added_cells(log.state, log.add(700, 700.126, square(700, 700), "tumour"))
        log.give(added, "probable")
    (read,) = replay(folder).reads
    assert len(read.cells[cells[0].id].outline_px) == 4
    assert read.cells[cells[0].id].nucleus_px[0] == (95.0, 195.0)
    assert read.cells[cells[0].id].comment == "see also 3"
    assert read.cells[added.id].cell.y_px == 700.13
    assert (read.cells[added.id].say, read.cells[added.id].added) == ("probable", True)


def test_split_and_join_name_their_origin_and_undo_whole(slide):
    folder, cells = slide
    with open_log(folder, "anna") as log:
        parts = [new_cell(90, 200, square(90, 200, 9)), new_cell(110, 200, square(110, 200, 9))]
        log.split(cells[0], [(parts[0], "tumour"), (parts[1], "artefact")])
        assert log.state.cells[cells[0].id].deleted
        assert log.state.cells[parts[1].id].origin == (cells[0].id,)
        log.undo()
        assert not log.state.cells
        log.redo()
        whole = new_cell(100, 200, square(100, 200))
        log.join(parts, whole, "tumour")
    state = replay(folder).reads[0].cells
    assert [state[part.id].say for part in parts] == ["not_an_object"] * 2
    assert set(state[whole.id].origin) == {part.id for part in parts}


def test_undo_names_what_it_undoes(slide):
    folder, cells = slide
    with open_log(folder, "anna") as log:
        first = log.give(cells[0], "tumour")
        second = log.give(cells[0], "artefact")
        assert log.undo().values["names"] == {"hash": second.hash, "n": 2}
        assert log.state.cells[cells[0].id].entry == first.name
        assert log.undo().values["names"] == {"hash": first.hash, "n": 1}
        with pytest.raises(VerdictError, match="nothing to undo"):
            log.undo()
        assert log.redo().values["names"] == {"hash": first.hash, "n": 1}
        log.give(cells[1], "tumour")
        with pytest.raises(VerdictError, match="nothing to redo"):
            log.redo()


def test_signed_off_means_closed(slide):
    folder, cells = slide
    with open_log(folder, "anna") as log:
        log.give(cells[0], "tumour")
        log.give(CellRef("seed-1", 0, 0, mark="seeded"), "tumour")
        signed = log.sign_off()
        assert signed.values["counts"] == {"tumour": 1}
        assert (signed.values["candidates"], signed.values["unread"]) == (3, 2)
        for say in (log.undo, lambda: log.give(cells[1], "skip"), log.sign_off):
            with pytest.raises(VerdictError, match="signed off; reopen it first"):
                say()
        with pytest.raises(VerdictError, match="needs a reason"):
            log.reopen(" ")
        log.reopen("cell 2 was out of focus")
        with pytest.raises(VerdictError, match="nothing to undo"):
            log.undo()
        log.give(cells[1], "skip")
        with pytest.raises(VerdictError, match="is not signed off"):
            log.reopen("again")


def test_marks_do_not_change(slide):
    folder, _ = slide
    with open_log(folder, "anna") as log:
        log.give(CellRef("n1", 10, 10, mark="audit"), "haematopoietic")
        with pytest.raises(VerdictError, match="was marked 'audit' before"):
            log.give(CellRef("n1", 10, 10), "tumour")


def test_refused_entries_leave_the_log_as_it_was(slide):
    folder, cells = slide
    with open_log(folder, "anna") as log:
        log.delete(cells[0])
        before = log.path.read_bytes()
        for say in (
            lambda: log.delete(cells[0]),
            lambda: log.correct(cells[0], square(1, 1)),
            lambda: log.correct(cells[1], [(1, 1), (2, 2)]),
            lambda: log.correct(cells[1], [(1, 1), (2, 2), (float("nan"), 3)]),
            lambda: log.add(1, 1, square(1, 1), "skip"),
            lambda: log.give(CellRef("", 1, 1), "tumour"),
            lambda: log.give(CellRef("x", float("inf"), 1), "tumour"),
            lambda: log.adjudicate(cells[0], "tumour", [("b", log.state.head)]),
            lambda: log.join([cells[1], cells[1]], new_cell(1, 1, square(1, 1)), "tumour"),
            lambda: log.split(cells[1], []),
        ):
            with pytest.raises(VerdictError):
                say()
        assert log.path.read_bytes() == before
        log.give(cells[0], "artefact")  # a deleted cell with a verdict is a cell again
        assert log.state.cells[cells[0].id].say == "artefact"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Anna", " anna ", True),
        ("Anna", "Änna", False),
        ("a/b", "a b", False),
        ("../../x", "x", False),
        ("A\0", "A", 0),
    ],
)
def test_file_names_of_readers(one, other, same):
    stems = {log_stem(one, "read"), log_stem(other, "read")}
    assert len(stems) == (1 if same else 2)
    assert all(re.fullmatch(r"[a-z0-9_-]+", stem) for stem in stems)


@pytest.mark.parametrize("reader", ["con", "NUL", "лёна", "李", "-", "adjudication", "x" * 200, "\ud800"])
def test_any_name_makes_a_file(slide, reader):
    folder, cells = slide
    with open_log(folder, reader) as log:
        log.give(cells[0], "tumour")
    assert replay(folder).reads[0].header.reader == reader
    assert log.path.stem not in ("con", "nul")
    assert verify(folder.parent).sound


@pytest.mark.parametrize("reader", ["", "  ", "x" * 201])
def test_no_name_no_log(slide, reader):
    with pytest.raises(VerdictError, match="needs a name"):
        open_log(slide[0], reader)


def test_log_of_another_version(slide):
    folder, cells = slide
    with open_log(folder, "anna") as log:
        log.give(cells[0], "tumour")
    from dtcseg.verdicts.chain import seal, unseal

    lines = log.path.read_bytes().splitlines()
    values, _ = unseal(lines[0])
    log.path.write_bytes(seal({**values, "version": 2})[0] + b"\n")
    with pytest.raises(VerdictError, match=r"a/verdicts/anna\.jsonl, line 1: the log has version 2 and this dtcseg"):
        replay(folder)


@pytest.mark.parametrize("content", [b"hello\n", b"{}\n", b'{"a":1}\n\n', b"\xff\n", b"a,b\n1,2\n"])
def test_a_file_that_is_no_log(slide, content):
    folder, _ = slide
    path = folder / "verdicts" / "anna.jsonl"
    path.write_bytes(content)
    for use in (lambda: replay(folder), lambda: open_log(folder, "anna")):
        with pytest.raises(VerdictError, match=r"anna\.jsonl, line 1: is not an entry of a verdict log"):
            use()
    assert path.read_bytes() == content
    assert not verify(folder.parent).sound


def test_log_under_another_name_or_slide(slide, tmp_path):
    folder, _ = slide
    with open_log(folder, "anna"):
        pass
    (folder / "verdicts" / "anna.jsonl").rename(folder / "verdicts" / "ben.jsonl")
    with pytest.raises(VerdictError, match="is the log of the reader 'anna'"):
        replay(folder)
    other, _ = score(tmp_path, name="b")
    (folder / "verdicts" / "ben.jsonl").rename(other / "verdicts" / "anna.jsonl")
    with pytest.raises(VerdictError, match="is a log of the slide 'a', and stands in the folder of another"):
        open_log(other, "anna")


def test_no_slide(tmp_path):
    with pytest.raises(VerdictError, match="is no slide that was scored"):
        open_log(tmp_path, "anna")
    assert not list(tmp_path.iterdir())
    with pytest.raises(VerdictError, match="score the slide again"):
        read_candidates(tmp_path)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_read_only_folder(slide, monkeypatch, number):
    folder, _ = slide

    def no(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", no)
    with pytest.raises(VerdictError, match="a read-only drive"):
        open_log(folder, "anna")
    monkeypatch.undo()
    assert not list((folder / "verdicts").iterdir())


def test_verdicts_is_a_file(slide):
    folder, _ = slide
    (folder / "verdicts").rmdir()
    (folder / "verdicts").write_text("")
    with pytest.raises(VerdictError, match=r"a/verdicts/anna\.jsonl: cannot be written"):
        open_log(folder, "anna")


def test_full_disk_takes_the_entry_back(slide, monkeypatch):
    folder, cells = slide
    real_write = os.write
    writes = []

    def half(handle, data):
        writes.append(len(data))
        if len(writes) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real_write(handle, bytes(data)[: len(data) // 2])

    with open_log(folder, "anna") as log:
        log.give(cells[0], "tumour")
        before = log.path.read_bytes()
        monkeypatch.setattr(os, "write", half)
        with pytest.raises(VerdictError, match="the disk is full; make room and give the last verdict again"):
            log.give(cells[1], "tumour")
        assert log.path.read_bytes() == before
        assert len(writes) == 2
        monkeypatch.undo()
        log.give(cells[1], "artefact")
    assert [state.say for state in replay(folder).reads[0].cells.values()] == ["tumour", "artefact"]
    assert verify(folder.parent).sound


_FULL_DISK = """
import pathlib, resource, signal, sys
from dtcseg.errors import VerdictError
from dtcseg.verdicts import open_log, read_candidates
folder = pathlib.Path(sys.argv[1])
cells = read_candidates(folder)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
said = 0
with open_log(folder, "anna") as log:
    try:
        while True:
            log.give(cells[said % 3], "tumour", comment="x" * 300)
            said += 1
    except VerdictError as error:
        print(said, error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit")
def test_limit_of_the_system_in_mid_write(slide):
    folder, _ = slide
    done = subprocess.run([sys.executable, "-c", _FULL_DISK, folder], capture_output=True, text=True, check=True)
    said, message = done.stdout.split(" ", 1)
    assert "the disk is full" in message
    (read,) = replay(folder).reads
    assert len(read.entries) == int(said) > 10
    assert replay(folder).unfinished == ()
    assert verify(folder.parent).sound


def test_failed_sync_is_no_verdict(slide, monkeypatch):
    folder, cells = slide
    with open_log(folder, "anna") as log:
        log.give(cells[0], "tumour")

        def sync(_):
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "fsync", sync)
        with pytest.raises(VerdictError, match="Input/output error"):
            log.give(cells[1], "tumour")
        monkeypatch.undo()
        with pytest.raises(VerdictError, match="open it again"):
            log.give(cells[1], "tumour")
    with open_log(folder, "anna") as log:
        log.give(cells[1], "tumour")
    assert verify(folder.parent).sound


def test_one_sync_an_entry(slide, monkeypatch):
    folder, cells = slide
    calls = []
    with open_log(folder, "anna") as log:
        real = os.fsync
        monkeypatch.setattr(os, "fsync", lambda handle: (calls.append(handle), real(handle)))
        for cell in cells:
            log.give(cell, "tumour")
    assert len(calls) == len(cells)


def test_ten_thousand_entries(slide, monkeypatch):
    folder, cells = slide
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # the time of the disk is not looked at here
    with open_log(folder, "anna") as log:
        for n in range(10_000):
            log.give(cells[n % 3], "tumour" if n % 2 else "probable", rank=n)
    (read,) = replay(folder).reads
    assert len(read.entries) == 10_000
