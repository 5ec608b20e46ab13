"""Opening results: what is of another version, moved, spoilt or locked is said in a line with the remedy."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace

import pytest
from making_review import opened, say, write_slide

from dtcseg.errors import UsageError, VerdictError
from dtcseg.review.facts import facts
from dtcseg.review.logs import check_writable, readers_of
from dtcseg.review.session import ReviewSession
from dtcseg.review.slides import open_results, same_slide, slide_files
from dtcseg.verdicts import verify


def test_one_slide_or_all_of_them(tmp_path):
    assert set(opened(tmp_path, a=2, b=3).slides) == {"a", "b"}
    one = open_results(tmp_path / "out" / "b")
    assert (one.root, list(one.slides)) == (tmp_path / "out", ["b"])


def test_no_results_folder(tmp_path):
    with pytest.raises(UsageError, match="is no results folder of dtcseg; make one with"):
        open_results(tmp_path)


def test_results_of_another_version_are_named_and_the_others_open(tmp_path):
    opened(tmp_path, a=2, b=2)
    (tmp_path / "out" / "a" / "slide.json").write_text('{"slide": "a", "identity": [], "future": 1}')
    found = open_results(tmp_path / "out")
    assert list(found.slides) == ["b"]
    assert len(found.problems) == 1
    assert "a: its slide.json cannot be read by this dtcseg (another version wrote it" in found.problems[0]
    with pytest.raises(UsageError, match="another version"):
        open_results(tmp_path / "out" / "a")


def test_a_slide_is_found_where_it_was_or_beside_the_results(tmp_path):
    record = opened(tmp_path, a=1).slides["a"].record
    assert slide_files(tmp_path / "out", record) == (tmp_path / "slides" / "a.tif",)
    moved = tmp_path / "elsewhere"
    shutil.move(tmp_path / "out", moved / "out")
    shutil.move(tmp_path / "slides", moved / "slides")
    assert slide_files(moved / "out", record) == (moved / "slides" / "a.tif",)
    (moved / "slides" / "a.tif").write_bytes(b"another slide of that name")
    with pytest.raises(UsageError, match=r"the slide is no longer at .*put it back"):
        slide_files(moved / "out", record)
    assert not same_slide(moved / "slides" / "a.tif", record)


def test_readers_are_listed_and_a_log_that_is_not_what_it_says_is_named(tmp_path):
    results = opened(tmp_path, a=2)
    folder = tmp_path / "out" / "a"
    say(folder, "Anna", "th")
    say(folder, "Bo", "tt")
    assert readers_of(results.slides) == (["Anna", "Bo"], [])
    (folder / "verdicts" / "bo.jsonl").rename(folder / "verdicts" / "stranger.jsonl")
    readers, problems = readers_of(results.slides)
    assert readers == ["Anna"]
    assert "is the log of the reader 'Bo', so the file must not have this name" in problems[0]
    with pytest.raises(VerdictError, match="the log of the reader 'Bo'"):
        ReviewSession(results, "stranger")


def test_a_byte_that_was_changed_is_found_with_its_line(tmp_path):
    results = opened(tmp_path, a=4)
    session = ReviewSession(results, "anna")
    for word in ("tumour", "artefact", "probable"):
        session.give(word)
    session.close()
    log = tmp_path / "out" / "a" / "verdicts" / "anna.jsonl"
    content = log.read_bytes()
    at = content.index(b'"after":"artefact"') + len(b'"after":"')
    log.write_bytes(content[:at] + b"A" + content[at + 1 :])
    found = verify(tmp_path / "out")
    assert [str(problem).partition(": ")[0] for problem in found.problems] == ["a/verdicts/anna.jsonl:3"]
    with pytest.raises(VerdictError, match="line 3: entry altered"):
        ReviewSession(results, "anna")
    ReviewSession(results, "bo").close()


@pytest.mark.skipif(sys.platform == "win32", reason="other permissions")
def test_a_folder_that_takes_no_log_is_refused_before_the_first_cell(tmp_path, monkeypatch):
    folder = write_slide(tmp_path, "a", 1)
    check_writable(folder)
    if os.geteuid() == 0:  # root may write anywhere, so the refusal is made
        monkeypatch.setattr("pathlib.Path.write_bytes", _read_only)
    else:
        (folder / "verdicts").chmod(0o555)
    with pytest.raises(VerdictError, match=r"cannot be written .* ask for write permission, or copy RESULTS"):
        check_writable(folder)


def _read_only(*_):
    raise OSError(30, "Read-only file system")


@pytest.mark.parametrize(("measured", "shown"), [(0.0, None), (0.84, "0.8")])
def test_a_ring_of_leukocyte_marker_is_told_where_there_is_one(tmp_path, measured, shown):
    item = opened(tmp_path, a=1).slides["a"].items[0]
    item = replace(item, measured={**item.measured, "cd45_ring": measured})
    assert {fact.label: fact.value for fact in facts(item, calls=False)}.get("CD45 ring") == shown


def test_evidence_has_units_and_hides_what_the_program_thinks(tmp_path):
    item = opened(tmp_path, a=1).slides["a"].items[0]
    shown = {fact.label: fact.value for fact in facts(item, calls=True)}
    assert shown["Program"] == "tumour, score 0.90"
    assert shown["Cell"] == "20.0 µm across"
    assert shown["Over nucleus"] == "75 %"
    blind = facts(item, calls=False)
    assert "Program" not in {fact.label for fact in blind}
    assert not any("tumour" in fact.value or "0.90" in fact.value for fact in blind)
