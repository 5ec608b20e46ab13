"""What goes wrong on one machine in a long night: processes killed and frozen, shares away, files half there."""

import os
import threading
import time

import fake_scoring
import psutil
import pytest
from batch_helpers import content, log, score, table, wait_for

from dtcseg import batch, isolation, tries
from dtcseg.config import ScoreConfig
from dtcseg.errors import UsageError
from dtcseg.isolation import Order, Outcome, ScoringProcess, own_device
from dtcseg.results.atomic import OutputError
from dtcseg.results.lock import FolderLock
from dtcseg.runlog import RunLog

pytestmark = pytest.mark.usefixtures("marks")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Look again soon."""
    monkeypatch.setattr(batch, "_LOOK_S", 0.1)


@pytest.fixture
def meanwhile():
    """Do something beside the run that the test makes, and fail with it."""
    threads, errors = [], []

    def begin(work):
        def guarded():
            try:
                work()
            except BaseException as error:
                errors.append(error)

        threads.append(threading.Thread(target=guarded, daemon=True))
        threads[-1].start()

    yield begin
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not errors


def scorer_of(tmp_path, name):
    mark = tmp_path / "marks" / f"{name}.tif"
    wait_for(mark.exists)
    return psutil.Process(int(mark.read_text()))


def undisturbed(jobs, tmp_path):
    score(jobs, tmp_path / "undisturbed")
    return content(tmp_path / "undisturbed")


@pytest.mark.parametrize("how", ["kill", "suspend"])
def test_process_killed_or_frozen_in_mid_slide(tmp_path, slides, meanwhile, monkeypatch, how):
    monkeypatch.setenv("DTCSEG_TEST_SLEEP", "60")
    jobs, out = slides("a", "once", "z"), tmp_path / "out"
    before = set(psutil.Process().children())  # the display of this test process
    meanwhile(lambda: getattr(scorer_of(tmp_path, "once"), how)())
    assert score(jobs, out, workers=2, limit_s=2.0).status == 0
    (line,) = log(out, "slide_again")
    assert line["slide"] == "once"
    assert ("SIGKILL" if how == "kill" else "no progress for 2 s") in line["reason"]
    assert content(out) == undisturbed(jobs, tmp_path)
    left = set(psutil.Process().children()) - before
    assert not [child for child in left if "resource_tracker" not in " ".join(child.cmdline())]


def test_what_died_is_tried_alone(tmp_path, slides):
    jobs, out = slides("crash1", "crash2", "slow", "slow2"), tmp_path / "out"
    assert score(jobs, out, workers=2).status == 1
    events = [(line["event"], line.get("slide")) for line in log(out) if line["event"] != "slide_waiting"]
    (*_, (_, one), (_, same), (_, two), (_, also), _) = events
    assert one == same != two == also
    assert [event for event, _ in events[-5:-1]] == ["slide_started", "slide_failed"] * 2
    assert all(event != "slide_done" for event, _ in events[-5:])


def test_share_of_the_slides_goes_and_comes_back(tmp_path, slides, meanwhile):
    jobs, out = slides("a", "b", "c", "slow", "t", "u"), tmp_path / "out"
    share, away = tmp_path / "slides", tmp_path / "away"

    def disturb():
        wait_for((out / "a" / "slide.json").exists)
        share.rename(away)
        share.mkdir()  # an empty mount point
        wait_for(lambda: any("is away; waiting for it" in line["text"] for line in log(out, "notice")))
        share.rmdir()
        away.rename(share)

    meanwhile(disturb)
    assert score(jobs, out).status == 0
    assert log(out, "slide_again")
    assert content(out) == undisturbed(jobs, tmp_path)


def test_share_that_stays_away(tmp_path, slides, meanwhile, monkeypatch):
    monkeypatch.setattr(tries, "SHARE_S", 0.5)
    jobs, out = slides("a", "slow", "t"), tmp_path / "out"

    def disturb():
        wait_for((out / "a" / "slide.json").exists)
        (tmp_path / "slides").rename(tmp_path / "away")

    meanwhile(disturb)
    assert score(jobs, out).status == 1
    assert table(out)["t"]["reason"] == "the file went away while it was scored"
    (tmp_path / "away").rename(tmp_path / "slides")
    assert score(jobs, out).status == 0
    assert content(out) == undisturbed(jobs, tmp_path)


@pytest.mark.parametrize("leaves_mount_point", [True, False])
def test_share_of_the_results_goes_and_comes_back(tmp_path, slides, meanwhile, leaves_mount_point, monkeypatch):
    monkeypatch.setenv("DTCSEG_TEST_SLEEP", "4")
    jobs, out = slides("a", "b", "slow", "t"), tmp_path / "out"
    away = tmp_path / "away"
    said = []

    def disturb():
        wait_for(lambda: (out / "log.jsonl").exists() and any(log(out, "slide_done")))
        time.sleep(1.5)  # the tables are written after it, and the slow slide is still being scored
        out.rename(away)
        if leaves_mount_point:
            out.mkdir()
        time.sleep(2)
        if leaves_mount_point:
            said.extend(out.rglob("*.csv"))
            for path in out.iterdir():
                path.unlink()
            out.rmdir()
        away.rename(out)

    meanwhile(disturb)
    assert score(jobs, out).status == 0
    assert not said  # nothing but lines of the log was written into the empty mount point
    assert content(out) == undisturbed(jobs, tmp_path)


def test_results_that_stay_away_end_the_run(tmp_path, slides, meanwhile, monkeypatch):
    monkeypatch.setattr(batch, "SHARE_S", 0.5)
    jobs, out = slides("a", "b", "slow", "t"), tmp_path / "out"

    def disturb():
        wait_for((out / "a" / "slide.json").exists)
        out.rename(tmp_path / "away")

    meanwhile(disturb)
    with pytest.raises(OutputError, match="out: the results folder went away; finished slides are kept in it"):
        score(jobs, out)
    assert not out.exists()
    assert (tmp_path / "away" / "a" / "slide.json").is_file()


def test_lock_is_taken_back_when_only_its_handle_was_lost(tmp_path):
    """As after a share that came back: the file is there, and the old handle answers nothing."""
    folder = tmp_path / "out"
    folder.mkdir()
    with FolderLock(folder) as lock:
        assert lock.is_held()
        os.close(lock._handle)
        assert lock.is_held()
        with pytest.raises(UsageError, match="another run is writing here"), FolderLock(folder):
            pass
        os.close(lock._handle)
        (folder / ".lock").write_text("another process")
        assert not lock.is_held()
        (folder / ".lock").unlink()
        assert not lock.is_held()
        assert not list(folder.iterdir())
    assert not lock.is_held()


def test_parts_that_could_not_be_read_are_read_again(tmp_path, slides):
    jobs, out = slides("patchy"), tmp_path / "out"
    assert score(jobs, out).status == 0
    assert [line["reason"] for line in log(out, "slide_again")] == ["parts of it could not be read"]
    assert content(out) == undisturbed(jobs, tmp_path)


def test_file_that_changes_while_it_is_scored(tmp_path, slides, meanwhile, monkeypatch):
    monkeypatch.setenv("DTCSEG_TEST_SLEEP", "2")
    jobs, out = slides("once"), tmp_path / "out"

    def disturb():
        scorer_of(tmp_path, "once")
        jobs[0].files[0].write_text("scanned again")

    meanwhile(disturb)
    assert score(jobs, out).status == 0
    assert [line["reason"] for line in log(out, "slide_again")] == ["the file changed while it was scored"]
    assert content(out) == undisturbed(jobs, tmp_path)


def test_log_tells_a_run_from_begin_to_end(tmp_path, slides):
    out = tmp_path / "out"
    score(slides("a", "bad"), out)
    lines = log(out)
    assert [line["event"] for line in lines] == [
        "run_started",
        "slide_waiting",
        "slide_waiting",
        "slide_started",
        "slide_done",
        "slide_started",
        "slide_failed",
        "run_ended",
    ]
    assert all(line["time"].endswith("Z") and len(line["time"]) == 24 for line in lines)
    assert lines[1]["files"] == [str(tmp_path / "slides" / "a.tif")]
    assert lines[4].items() >= {"slide": "a", "mnc": 500_000, "tumour": 2, "qc": []}.items()
    assert (
        lines[6].items() >= {"slide": "bad", "file": "bad.tif", "reason": "the file is cut off; copy it again"}.items()
    )
    assert lines[7].items() >= {"status": 1, "waiting": 0, "scoring": 0, "done": 1, "failed": 1}.items()
    score(slides("a", "bad"), out)
    assert [line["event"] for line in log(out)].count("run_started") == 2


def test_log_goes_on_after_a_line_that_was_cut_off(tmp_path):
    (tmp_path / "log.jsonl").write_bytes(b'{"time": "x", "event": "run_started"}\n{"time": "20')
    log = RunLog(tmp_path)
    log.write("notice", text="a\nb\u2028\ud800")
    log.write("notice", text="c")
    lines = (tmp_path / "log.jsonl").read_bytes().split(b"\n")
    assert lines[1] == b'{"time": "20'
    assert lines[2].endswith(rb'"event": "notice", "text": "a\nb\u2028\ud800"}')
    assert len(lines) == 5
    (tmp_path / "log.jsonl").unlink()
    tmp_path.rename(tmp_path.with_name("away"))
    log.write("notice", text="lost, and no error")


def test_one_gpu_a_process():
    assert [own_device("auto", place, 2) for place in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert own_device("cuda", 1, 4) == "cuda:1"
    assert own_device("cuda:3", 0, 4) == "cuda:3"
    assert own_device("auto", 5, 1) == own_device("auto", 5, 0) == "auto"
    assert own_device("cpu", 1, 4) == "cpu"


def test_process_refuses_other_weights(tmp_path):
    order = Order(batch_config(tmp_path), sha256="0" * 64)
    with pytest.raises(UsageError, match="a worker has other weights under the name"):
        isolation._prepared(order, 1, 0)


def batch_config(tmp_path):
    from dtcseg.config import ScoreConfig

    return ScoreConfig(out=tmp_path)


def test_a_process_keeps_what_it_frees_though_dask_told_its_own_not_to(tmp_path, slides, monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    process = ScoringProcess(Order(ScoreConfig(out=tmp_path), fake_scoring.memory_settings), 1, 0)
    try:
        assert process.score(slides("a")[0]).reason == "memory as usual"
    finally:
        process.end()
    assert os.environ["MALLOC_TRIM_THRESHOLD_"] == "65536"


def test_limit_must_be_some_time(tmp_path, slides):
    with pytest.raises(UsageError, match="--limit must be more than 0 minutes"):
        score(slides("a"), tmp_path / "out", limit_s=0.0)


def test_worker_that_idles_is_not_missed(tmp_path, slides, monkeypatch):
    (job,) = slides("a")
    monkeypatch.syspath_prepend(os.path.dirname(__file__))
    process = isolation.ScoringProcess(Order(batch_config(tmp_path), scorer=score_nothing), 1, 0)
    try:
        first = process.score(job)
        os.kill(process._process.pid, 9)
        process._process.join()
        second = process.score(job)
    finally:
        process.end()
    assert first.score is None
    assert isinstance(second, Outcome)
    assert first.reason == second.reason
    assert first.reason.startswith("unexpected ValueError: nothing, test_faults.py line ")


def score_nothing(job, config, on_progress):
    raise ValueError("nothing")
