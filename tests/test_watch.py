"""What a scanner brings into a folder is scored once it is complete."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from batch_helpers import content, log, score, table, wait_for

from dtcseg import arrivals, batch
from dtcseg.arrivals import Arrivals
from dtcseg.config import ScoreConfig
from dtcseg.errors import UsageError

TESTS = Path(__file__).parent


class Clock:
    """Seconds that pass when told to."""

    now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "slides"
    place.mkdir()
    return place


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def look(folder, clock):
    """Look after so many seconds more, and give names of the slides brought and reasons of the failures."""
    source = Arrivals([folder], clock=clock)
    said = []

    def after(seconds):
        clock.now_s += seconds
        jobs, failures = source.look(said.append)
        return sorted(job.name for job in jobs), [failure.reason for failure in failures]

    after.said = said
    return after


def test_file_is_brought_when_it_stands_still(folder, look):
    assert look(0) == ([], [])
    path = folder / "a.tif"
    path.write_bytes(b"1")
    assert look(5) == ([], [])
    path.write_bytes(b"12")
    assert look(8) == ([], [])
    assert look(8) == ([], [])
    assert look(3) == (["a"], [])
    assert look(60) == ([], [])
    os.utime(path, ns=(1, 1))  # written again, with the same number of bytes
    assert look(5) == ([], [])
    assert look(10) == (["a"], [])


def test_mirax_waits_for_its_folder(folder, look):
    (folder / "a.mrxs").write_bytes(b"\xff\xd8\xff\xe0")
    look(0)
    (folder / "a").mkdir()
    (folder / "a" / "Data0000.dat").write_bytes(b"1")
    assert look(9) == ([], [])
    (folder / "a" / "Data0001.dat").write_bytes(b"1")
    assert look(9) == ([], [])
    (folder / "a" / "Data0001.dat").write_bytes(b"12")
    assert look(9) == ([], [])
    assert look(11) == (["a"], [])


def test_dicom_folder_waits_for_all_its_files(folder, look):
    series = folder / "series"
    series.mkdir()
    assert look(20) == ([], [])
    for number in range(3):
        (series / f"{number}.dcm").write_bytes(b"\0" * 128 + b"DICM" + bytes(number))
        assert look(9) == ([], [])
    assert look(11) == (["series"], [])


def test_table_is_read_again(folder, look):
    (folder / "a.tif").write_bytes(b"1")
    look(0)
    assert look(11) == (["a"], [])
    (folder / "slides.csv").write_text("file,patient\na.tif,P1\nnot_yet.tif,P1\n")
    assert look(1) == (["a"], [])  # brought again for its patient
    assert look(1) == ([], [])
    (folder / "slides.csv").write_text("file,stain\na.tif,purple\n")
    assert look(1)[1] == ["unknown stain 'purple' in slides.csv; one of new_fuchsin, fast_red, aec, dab, if"]
    assert look(1)[1] == []


def test_folder_that_is_away_is_said_once(folder, look):
    (folder / "a.tif").write_bytes(b"1")
    look(0)
    folder.rename(folder.with_name("away"))
    assert look(20) == look(20) == ([], [])
    assert look.said == [f"{folder}: no such file or folder; it is looked at again"]
    folder.with_name("away").rename(folder)
    assert look(0) == (["a"], [])
    with pytest.raises(UsageError, match="no such file or folder"):
        Arrivals([folder / "none"])


def start_watching(tmp_path, folder, out, sleep="0.2"):
    environment = {
        **os.environ,
        "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}",
        "DTCSEG_TEST_SLEEP": sleep,
        "DTCSEG_TEST_MARKS": str(tmp_path / "marks"),
    }
    command = [sys.executable, str(TESTS / "batch_script.py"), str(folder), str(out), "1", "watch"]
    return subprocess.Popen(
        command,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def events(out):
    return [(line["event"], line.get("slide")) for line in log(out)] if (out / "log.jsonl").exists() else []


@pytest.mark.usefixtures("marks")
def test_watching_a_folder(tmp_path, folder):
    """The file that stands still half written does not open, waits, and is scored when the rest has come."""
    out = tmp_path / "out"
    process = start_watching(tmp_path, folder, out)
    wait_for(out.exists)
    (folder / "a.tif").write_bytes(b"whole")
    (folder / "b.tif").write_bytes(b"partial")
    wait_for(lambda: {("slide_done", "a"), ("slide_again", "b")} <= set(events(out)))
    (folder / "b.tif").write_bytes(b"partial, and the rest")
    wait_for(lambda: ("slide_done", "b") in events(out))
    os.killpg(process.pid, signal.SIGINT)
    errors = process.communicate(timeout=20)[1]
    assert process.returncode == 0, errors
    assert {name: row["status"] for name, row in table(out).items()} == {"a": "done", "b": "done"}
    assert "Traceback" not in errors
    jobs, _ = batch_jobs(folder)
    score(jobs, tmp_path / "undisturbed")
    assert content(out) == content(tmp_path / "undisturbed")


@pytest.mark.usefixtures("marks")
def test_file_that_never_opens_is_a_failure_in_the_end(tmp_path, folder, monkeypatch):
    for name in ("SETTLE_S", "LOOK_EVERY_S", "REFUSED_S"):
        monkeypatch.setattr(arrivals, name, 0.05)
    monkeypatch.setattr(batch, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(batch, "REFUSED_S", 0.5)
    (folder / "bad.tif").write_bytes(b"partial")
    seen = []

    def say(self, row):
        seen.append(row)
        raise KeyboardInterrupt  # somebody stops watching

    monkeypatch.setattr("dtcseg.news.News.failed", say)
    import fake_scoring

    result = batch.watch_folders(
        [folder], ScoreConfig(out=tmp_path / "out"), scorer=fake_scoring.score, weights=fake_scoring.WEIGHTS
    )
    assert result.status == 1
    assert [row.reason for row in seen] == ["the file is cut off; copy it again"]
    assert [event for event, _ in events(tmp_path / "out")] == [
        "run_started",
        "slide_waiting",
        "slide_started",
        "slide_again",
        "slide_started",
        "run_ended",
    ]


def test_results_do_not_go_among_the_slides(folder):
    with pytest.raises(UsageError, match="holds slides; give --out a folder of its own"):
        batch.watch_folders([folder], ScoreConfig(out=folder))
    shutil.rmtree(folder)


def batch_jobs(folder):
    from dtcseg.manifest import find_slides

    return find_slides([folder])
