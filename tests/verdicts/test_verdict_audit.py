"""Every change in any log is found, with file and line; what was not changed is never blamed."""

import json
import shutil
import sys

import pytest
from fake_results import score, square

from dtcseg import cli
from dtcseg.errors import UsageError
from dtcseg.verdicts import open_log, replay, verify
from dtcseg.verdicts.chain import seal, unseal
from dtcseg.verdicts.heads import head_line, head_path
from dtcseg.verdicts.state import EntryName


@pytest.fixture
def read(tmp_path):
    """A slide that two readers read in turn, and its logs."""
    folder, cells = score(tmp_path)
    with open_log(folder, "anna") as anna, open_log(folder, "ben") as ben:
        anna.give(cells[0], "tumour")
        ben.give(cells[0], "artefact")
        anna.correct(cells[1], square(300, 200))
        anna.undo()
        ben.delete(cells[2])
    return folder, anna.path, ben.path


def places(root):
    return {(problem.file, problem.line) for problem in verify(root).problems}


def forge(path, number, **changes):
    """Change an entry, and hash it and all that follow anew; what a careful forger would do."""
    lines = path.read_bytes().splitlines()
    forged = lines[:number]
    previous = unseal(lines[number - 1])[1]
    anew = {}
    for at, line in enumerate(lines[number:], start=number):
        values, old = unseal(line)
        if values["kind"] == "undo":
            values["names"]["hash"] = anew.get(values["names"]["hash"], values["names"]["hash"])
        line, anew[old] = seal({**values, "prev": previous, **(changes if at == number else {})})
        previous = anew[old]
        forged.append(line)
    path.write_bytes(b"\n".join(forged) + b"\n")
    return EntryName(len(forged) - 1, previous)


def test_sound(read):
    folder, _, _ = read
    found = verify(folder.parent)
    assert found.sound
    assert (found.logs, found.entries) == (2, 5)


def test_every_byte(read):
    folder, path, _ = read
    content = path.read_bytes()
    for at, byte in enumerate(content):
        line = content.count(b"\n", 0, at) + 1
        changed = bytearray(content)
        changed[at] = byte ^ (1 if byte != ord("\n") ^ 1 else 3)
        path.write_bytes(changed)
        assert ("a/verdicts/anna.jsonl", line) in places(folder.parent), (at, content[max(0, at - 9) : at + 9])
    path.write_bytes(content)
    assert verify(folder.parent).sound


def test_every_byte_of_a_head_record(read):
    folder, path, _ = read
    head = head_path(path)
    content = head.read_bytes()
    for at in range(len(content)):
        changed = bytearray(content)
        changed[at] ^= 1
        head.write_bytes(changed)
        assert not verify(folder.parent).sound, at


@pytest.mark.parametrize("number", [1, 2, 3])
def test_line_taken_out(read, number):
    folder, path, _ = read
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:number] + lines[number + 1 :]))
    assert ("a/verdicts/anna.jsonl", number + 1) in places(folder.parent)


def test_lines_put_in_or_swapped(read):
    folder, path, _ = read
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[1], *lines[2:]]))
    assert ("a/verdicts/anna.jsonl", 3) in places(folder.parent)
    path.write_bytes(b"".join([lines[0], lines[2], lines[1], lines[3]]))
    assert ("a/verdicts/anna.jsonl", 2) in places(folder.parent)


def test_end_cut_off(read):
    folder, path, _ = read
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    (problem,) = verify(folder.parent).problems
    assert (problem.file, problem.line) == ("a/verdicts/anna.jsonl", 4)
    assert "missing at the end" in problem.what


def test_end_cut_off_with_its_head_is_told_by_the_other_reader(read):
    folder, path, _ = read
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    head_path(path).write_bytes(head_line(EntryName(2, unseal(lines[2].strip())[1])))
    (problem,) = verify(folder.parent).problems
    assert (problem.file, problem.line) == ("a/verdicts/anna.jsonl", 4)
    assert "line 3 of ben.jsonl saw number 3" in problem.what


def test_no_head_record(read):
    folder, path, _ = read
    head_path(path).unlink()
    assert places(folder.parent) == {("a/verdicts/anna.head.json", 1)}
    with open_log(folder, "anna") as log:
        log.undo()
    assert json.loads(path.read_text().splitlines()[-1])["head_record"] == "missing"


def test_forged_anew_is_told_by_head_and_witness(read):
    folder, path, _ = read
    head = forge(path, 1, after="artefact")
    assert places(folder.parent) == {("a/verdicts/anna.jsonl", line) for line in (2, 4)}
    replay(folder)  # it is a sound log as far as it goes
    head_path(path).write_bytes(head_line(head))
    whats = [problem.what for problem in verify(folder.parent).problems]
    assert len(whats) == 2
    assert all("of ben.jsonl saw number" in what for what in whats)


def test_log_removed(read):
    folder, path, _ = read
    path.unlink()
    assert places(folder.parent) == {("a/verdicts/anna.jsonl", 1)}
    head_path(path).unlink()
    (problem,) = verify(folder.parent).problems
    assert "the log is missing: line 2 of ben.jsonl saw number 1 of it" in problem.what


def test_log_of_another_slide(read, tmp_path):
    folder, path, _ = read
    other, _ = score(tmp_path, name="b")
    shutil.copy(path, other / "verdicts")
    shutil.copy(head_path(path), other / "verdicts")
    assert places(folder.parent) == {("b/verdicts/anna.jsonl", 1), ("b/verdicts/ben.jsonl", 1)}


def test_sound_hash_of_an_impossible_entry(read):
    folder, path, _ = read
    head_path(path).write_bytes(head_line(forge(path, 3, kind="redo")))
    found = [problem for problem in verify(folder.parent).problems if "nothing to redo" in problem.what]
    assert [problem.line for problem in found] == [4]


def test_clock_that_went_back_is_a_remark(read):
    folder, path, _ = read
    head_path(path).write_bytes(head_line(forge(path, 3, when="2001-01-01T00:00:00.000Z")))
    assert [(remark.line, remark.what) for remark in verify(folder.parent).remarks] == [(4, "the clock had gone back")]


def test_adjudication_names_what_is_there(read):
    folder, _, _ = read
    anna, ben = replay(folder).reads
    cell = next(iter(anna.cells.values()))
    other = ben.cells[cell.cell.id]
    with open_log(folder, "cleo", role="adjudication") as log:
        log.adjudicate(cell.cell, "tumour", [("anna", cell.entry), ("Ben", other.entry)])
    assert verify(folder.parent).sound
    with open_log(folder, "cleo", role="adjudication") as log:
        log.adjudicate(cell.cell, "artefact", [("anna", other.entry)])
    (problem,) = verify(folder.parent).problems
    assert (problem.file, problem.line) == ("a/verdicts/cleo.adjudication.jsonl", 3)
    assert "that was weighed is not there" in problem.what


def test_command(read, monkeypatch, capsys):
    folder, path, _ = read

    def run(results):
        monkeypatch.setattr(sys, "argv", ["dtcseg", "verify", str(results)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, *capsys.readouterr()

    assert run(folder.parent) == (0, f"{folder.parent}: 2 logs with 5 entries, no change found\n", "")
    path.write_bytes(path.read_bytes().replace(b'"after":"tumour"', b'"after":"skip"'))
    code, out, err = run(folder.parent)
    assert (code, err) == (1, "")
    assert "a/verdicts/anna.jsonl:2: entry altered" in out.splitlines()[0]
    assert out.splitlines()[-1].endswith("changes found: 1")
    code, out, err = run(folder / "nowhere")
    assert (code, out) == (2, "")
    assert "is no results folder" in err


def test_no_results_folder(tmp_path):
    with pytest.raises(UsageError, match="is no results folder"):
        verify(tmp_path)


def test_no_verdicts_yet(tmp_path):
    folder, _ = score(tmp_path)
    found = verify(folder.parent)
    assert (found.sound, found.logs) == (True, 0)
