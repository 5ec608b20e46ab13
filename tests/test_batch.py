"""Many slides: what fails, what is skipped, what is left when a run is killed, and who may write."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import fake_scoring
import psutil
import pytest
from batch_helpers import content, hidden, score, table, wait_for, wait_until_gone
from fake_scoring import WEIGHTS

from dtcseg import batch, cluster, isolation
from dtcseg.config import SlideJob
from dtcseg.errors import UsageError
from dtcseg.manifest import SlideFailure, find_slides
from dtcseg.network.weights import resolve
from dtcseg.results.atomic import OutputError
from dtcseg.results.lock import FolderLock
from dtcseg.results.record import Weights

TESTS = Path(__file__).parent


def test_every_process_takes_the_weights_that_were_in_use_when_the_run_began(tmp_path):
    pinned = batch._pinned("", WEIGHTS)
    assert pinned == batch._pinned("fake", WEIGHTS) == f"sha256:{'f' * 64}"
    assert batch._pinned("some/file.safetensors", WEIGHTS) == "some/file.safetensors"
    found = resolve()
    assert resolve(batch._pinned("", Weights(found.name, found.sha256))) == found
    with pytest.raises(UsageError, match=r"are not on this machine; .* DTCSEG_WEIGHTS"):
        resolve(pinned)


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_slides_fail_and_the_others_are_done(tmp_path, slides, capsys, workers):
    out = tmp_path / "out"
    names = ["a", "b", "bad", "bug", "crash", "exit", "gone", "memory"]
    missing = SlideFailure("zz", tmp_path / "zz.svs", "no such file, though slides.csv lists it", patient="P")
    result = score(slides(*names), out, [missing], workers=workers)
    assert result.status == 1
    rows = table(out)
    assert list(rows) == sorted([*names, "zz"]) == [row.slide for row in result.rows]
    reasons = {name: row["reason"] for name, row in rows.items() if row["status"] == "failed"}
    expected = {
        "bad": "the file is cut off; copy it again",
        "bug": r"unexpected ZeroDivisionError: a fault\nof the program, fake_scoring.py line",
        "gone": "the file went away while it was scored",
        "memory": "there is not enough memory",
        "zz": "no such file, though slides.csv lists it",
        "crash": "the process that scored it was ended by SIGKILL, perhaps for want of memory",
        "exit": "the process that scored it ended by itself (exit status 3)",
    }
    assert set(reasons) == set(expected)
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == len(rows)
    for name, words in expected.items():
        assert reasons[name].startswith(words)
        assert sum(line.startswith(f"{name}.") and words in line for line in errors) == 1
    assert {row["status"] for name, row in rows.items() if name not in expected} == {"done"}
    assert not hidden(out)
    run = json.loads((out / "run.json").read_text())
    assert run["weights"] == {"name": "fake", "sha256": "f" * 64}
    assert run["device"] == "cpu"
    assert run["ended"] >= run["started"]


def test_all_ways_give_the_same_files(tmp_path, slides, marks):
    jobs = slides("a", "b", "bad", "c", "Köln März", "_1+1")
    score(jobs, tmp_path / "one")
    score(jobs[::-1], tmp_path / "two", workers=2)
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None, processes=True) as cluster:
        score(jobs, tmp_path / "cluster", scheduler=cluster.scheduler_address, scorer=fake_scoring.score_and_count)
    one = content(tmp_path / "one")
    assert one["a/cells.csv"]
    assert content(tmp_path / "two") == one
    assert content(tmp_path / "cluster") == one
    assert len(marks()) == len(jobs)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://x", "127.0.0.1:99999999"])
def test_no_scheduler_there(tmp_path, slides, address, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "_CONNECT_S", 1)
    with pytest.raises(UsageError, match="no Dask scheduler answers there"):
        score(slides("a"), tmp_path / "out", scheduler=address)
    assert not hidden(tmp_path / "out")


def test_cluster_without_dask(tmp_path, slides, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"install dtcseg\[cluster\]"):
        score(slides("a"), tmp_path / "out", scheduler="tcp://127.0.0.1:1")


def test_same_command_again_does_only_what_is_missing(tmp_path, slides, marks, capsys):
    out = tmp_path / "out"
    jobs = slides("a", "b", "bad")

    def again(jobs=jobs, **changes):
        result = score(jobs, out, scorer=fake_scoring.score_and_count, **changes)
        return result.status, marks()

    assert again() == (1, ["a.tif", "b.tif", "bad.tif"])
    before = content(out)
    assert again() == (1, ["bad.tif"])
    assert content(out) == before
    (out / "a" / "cells.csv").unlink()
    assert again() == (1, ["a.tif", "bad.tif"])
    assert content(out) == before
    jobs[1].files[0].write_text("scanned again")
    assert again() == (1, ["b.tif", "bad.tif"])
    capsys.readouterr()
    assert again(weights=replace(WEIGHTS, sha256="0" * 64))[1] == ["a.tif", "b.tif", "bad.tif"]
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "other weights" in line]
    assert "2 slides here were scored with other weights, fake (ffffffffffff)" in said
    assert "give --model ffffffffffff or another --out" in said
    assert again([replace(job, stain="dab") for job in jobs])[1] == ["a.tif", "b.tif", "bad.tif"]
    assert again([replace(job, mpp_um=0.25) for job in jobs])[1] == ["a.tif", "b.tif", "bad.tif"]
    assert again([replace(job, mpp_um=0.25) for job in jobs[:2]], workers=2, tile_px=512) == (0, [])


def test_new_patient_is_noted_without_scoring(tmp_path, slides, marks):
    out = tmp_path / "out"
    (job,) = slides("a")
    score([job], out, scorer=fake_scoring.score_and_count)
    score([replace(job, patient="P", timepoint="2", role="isotype_control")], out, scorer=fake_scoring.score_and_count)
    assert marks() == ["a.tif"]
    row = table(out)["a"]
    assert (row["patient"], row["timepoint"], row["role"]) == ("P", "2", "isotype_control")


def test_repaired_slide_is_done_and_old_slides_stay(tmp_path, slides):
    out = tmp_path / "out"
    assert score(slides("old", "bad"), out).status == 1
    (job,) = slides("bad")
    repaired = job.files[0].rename(job.files[0].with_name("good.tif"))
    assert score([replace(job, files=(repaired,))], out).status == 0
    assert {name: row["status"] for name, row in table(out).items()} == {"old": "done", "bad": "done"}


def test_slide_that_fails_now_keeps_its_older_files(tmp_path, slides):
    out = tmp_path / "out"
    jobs = slides("a")
    score(jobs, out)
    cells = (out / "a" / "cells.csv").read_bytes()
    jobs[0].files[0].unlink()
    gone = SlideFailure("a", jobs[0].files[0], "no such file")
    result = score([], out, [gone])
    assert result.status == 1
    assert table(out)["a"]["reason"] == "no such file (its folder still holds the older results)"
    assert (out / "a" / "cells.csv").read_bytes() == cells
    jobs = slides("a")
    assert score(jobs, out).status == 0
    assert table(out)["a"]["status"] == "done"


def test_two_slides_of_one_name(tmp_path, slides):
    out = tmp_path / "out"
    slides("a", folder="one")
    slides("a", folder="two")
    jobs, failures = find_slides([tmp_path / "one", tmp_path / "two"])
    assert score(jobs, out, failures).status == 0
    assert len(table(out)) == 2
    third = slides("a", folder="three")
    score(third, out)
    score(third, out)
    assert len(table(out)) == 3
    assert len(list(out.glob("*/cells.csv"))) == 3


HOSTILE = ["with space", "quo\"te's", "=1+1", "a..b", "Zürich", "line\nbreak\r", "<script>", "-rf", "\udcff", "$(x)"]


def test_hostile_names(tmp_path):
    folder, out = tmp_path / "slides", tmp_path / "out"
    folder.mkdir()
    names = [*HOSTILE, "a" * 240]
    for name in names:
        (folder / f"{name}.tif").write_text("pixels")
    jobs, failures = find_slides([folder])
    assert not failures
    assert score(jobs, out).status == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "slides"]
    rows = table(out)
    assert len(rows) == len(names)
    for name, row in rows.items():
        assert (out / name.removeprefix("'") / "cells.csv").is_file()
        assert not row["file"].startswith(("=", "-", "+", "@"))
        assert row["status"] == "done"
    assert len(table(out, "patients.csv")) == len(names)
    page = (out / "report.html").read_text("utf-8")
    assert page.count("<script>") == 1  # the page's own, and none from a name
    for path in out.glob("*/cells.geojson"):
        json.loads(path.read_text("utf-8"))


def test_settings_that_suit_no_slide_end_the_run(tmp_path, slides):
    for number in (1, 2):
        with pytest.raises(UsageError, match="no CUDA device here"):
            score(slides("usage", "a"), tmp_path / "out", workers=number)
    assert not hidden(tmp_path / "out")
    with pytest.raises(UsageError, match="--workers"):
        score([], tmp_path / "out", workers=0)


def test_results_are_not_mixed_with_slides(tmp_path, slides):
    jobs = slides("a")
    with pytest.raises(UsageError, match="holds slides; give --out a folder of its own"):
        score(jobs, tmp_path / "slides")
    zarr = tmp_path / "b.zarr"
    zarr.mkdir()
    with pytest.raises(UsageError, match="holds slides"):
        score([SlideJob(name="b", files=(zarr,))], zarr / "out")
    assert os.listdir(tmp_path / "slides") == ["a.tif"]
    assert not os.listdir(zarr)


def test_two_runs_on_one_folder(tmp_path, slides):
    jobs = slides("a")
    (tmp_path / "out").mkdir()
    with FolderLock(tmp_path / "out"), pytest.raises(UsageError, match="another run is writing here"):
        score(jobs, tmp_path / "out")
    assert score(jobs, tmp_path / "out").status == 0


def start_run(tmp_path, out, workers, sleep):
    environment = {
        **os.environ,
        "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}",
        "DTCSEG_TEST_SLEEP": str(sleep),
        "DTCSEG_TEST_MARKS": str(tmp_path / "marks"),
    }
    command = [sys.executable, str(TESTS / "batch_script.py"), str(tmp_path / "slides"), str(out), str(workers)]
    return subprocess.Popen(
        command,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a CI may have it ignored
    )


def wait_for_slow_slide(tmp_path, count=1):
    """Wait until so many slides that take long are being scored."""
    wait_for(lambda: len(list((tmp_path / "marks").glob("slow*"))) >= count)


@pytest.mark.parametrize(("how", "workers"), [(signal.SIGKILL, 1), (signal.SIGKILL, 2), (signal.SIGINT, 2)])
def test_run_that_is_killed_goes_on_where_it_was(tmp_path, slides, marks, workers, how):
    jobs = slides("a", "b", "slow1", "slow2", "z")
    out, undisturbed = tmp_path / "out", tmp_path / "undisturbed"
    process = start_run(tmp_path, out, workers, sleep=60)
    wait_for_slow_slide(tmp_path)
    wait_for(lambda: (out / "a" / "slide.json").is_file())
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    started = time.monotonic()
    if how == signal.SIGKILL:
        process.kill()
    else:
        os.killpg(process.pid, how)  # as a terminal does: the whole group hears Ctrl-C
    errors = process.communicate(timeout=10)[1]
    assert time.monotonic() - started < 8
    wait_until_gone(family)
    assert (out / "a" / "slide.json").is_file()
    assert not (out / "slow1").exists()
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert errors.splitlines()[-1] == "interrupted; the same command goes on with what is missing"
        assert not hidden(out)
        assert "slow1" not in table(out)
    assert score(jobs, out, scorer=fake_scoring.score_and_count).status == 0
    assert "a.tif" not in marks()
    score(jobs, undisturbed)
    assert content(out) == content(undisturbed)
    assert not hidden(out)


def test_terminated_run_leaves_no_process(tmp_path, slides, marks):
    slides("slow1", "slow2")
    process = start_run(tmp_path, tmp_path / "out", 2, sleep=60)
    wait_for_slow_slide(tmp_path, 2)
    family = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    process.communicate(timeout=10)
    assert len(family) >= 2
    wait_until_gone(family)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root; the same is tested with a failing fsync")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_disk_full(small_disk, slides):
    out = small_disk / "out"
    score(slides("a"), out)
    (small_disk / "ballast").write_bytes(b"x" * (os.statvfs(small_disk).f_bavail * 4096 - 8192))
    before = content(out)
    with pytest.raises(OutputError, match=r"disk/out: the disk is full; make room and run the same command again"):
        score(slides("a", "b", "c"), out)
    after = content(out)
    assert {name for name in after if "/" in name} == {name for name in before if "/" in name}
    assert table(out)["a"]["status"] == "done"
    assert not [path for path in hidden(out) if path.name != ".lock"]
    (small_disk / "ballast").unlink()
    assert score(slides("a", "b", "c"), out).status == 0
    assert len(table(out)) == 3


class ScoredHere:
    """A pool without processes, where only what the parent writes is tested."""

    def __init__(self, order):
        self._order, self._ended = order, []

    def give(self, job):
        self._ended.append(isolation.score_one(job, self._order.config, self._order.scorer, lambda share: None)[0])

    def hear(self, timeout_s):
        return self._ended.pop()

    def close(self):
        pass


def test_disk_full_at_any_step(tmp_path, slides, monkeypatch):
    monkeypatch.setattr(batch, "LocalPool", ScoredHere)
    out = tmp_path / "out"
    score(slides("a"), out)
    real, calls = os.fsync, []

    def fail_from(step):
        def fsync(handle):
            calls.append(step)
            if len(calls) > step:
                raise OSError(28, "No space left on device")
            real(handle)

        return fsync

    step = 0
    while True:
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail_from(step))
            try:
                score(slides("a", "b"), out)
                break
            except OutputError:
                pass
        assert not hidden(out)
        assert "a" in table(out)
        if (out / "b").exists():
            assert len(os.listdir(out / "b")) == 5
        step += 1
    assert step > 20
    assert content(out).keys() >= {"a/cells.csv", "b/cells.csv"}


def test_read_only_folder(tmp_path, slides):
    out = tmp_path / "out"
    out.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(out)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a read-only file system needs root; a refused file is tested with the results folder")
    try:
        with pytest.raises(UsageError, match=r"results cannot be written here \(Read-only file system\)"):
            score(slides("a"), out)
    finally:
        subprocess.run(["umount", str(out)], check=True)


def test_worker_threads_share_the_cores(monkeypatch):
    monkeypatch.setattr(os, "environ", {})
    isolation.limit_threads(3)
    assert os.environ == {"OMP_NUM_THREADS": "3", "MKL_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3"}
