"""A real Dask scheduler and real workers on loopback, and what happens to them: killed, frozen, started again."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from batch_helpers import content, log, score, table, wait_for

from dtcseg import cluster
from dtcseg.batch import score_jobs
from dtcseg.config import SCREENED_SHARE, ScoreConfig
from dtcseg.errors import UsageError
from dtcseg.manifest import find_slides

pytest.importorskip("distributed")
pytestmark = pytest.mark.slow
TESTS = Path(__file__).parent


class Cluster:
    """A scheduler and workers, each a process as `dask scheduler` and `dask worker` start them."""

    def __init__(self, marks, logs):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self._logs = logs
        self._environment = {
            **os.environ,
            "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}",
            "DTCSEG_TEST_MARKS": str(marks),
            "DTCSEG_TEST_SLEEP": "60",
            "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "3s",
            "OMP_NUM_THREADS": "1",
        }
        self.processes = []

    def start_scheduler(self):
        self.scheduler = self._start(
            "dask_scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--dashboard-address", "127.0.0.1:0"
        )

    def start_worker(self, name, *options):
        return self._start("dask_worker", self.address, "--name", name, "--nthreads", "1", "--no-dashboard", *options)

    def answers(self):
        time.sleep(0.1)
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _start(self, program, *arguments):
        with (self._logs / f"{program}.{len(self.processes)}").open("wb") as said:
            command = [sys.executable, "-m", f"distributed.cli.{program}", *arguments]
            process = subprocess.Popen(command, env=self._environment, stdout=said, stderr=said, cwd=self._logs)
        self.processes.append(process)
        return process

    def close(self):
        for process in self.processes:
            family = [process]
            if process.poll() is None:
                family = [*psutil.Process(process.pid).children(recursive=True), process]
            for member in family:
                try:
                    member.send_signal(signal.SIGCONT)
                    member.kill()
                except psutil.NoSuchProcess:
                    pass
            process.wait()


@pytest.fixture(params=[()])
def dask(marks, tmp_path, request):
    """A scheduler and one worker, with a nanny as most clusters have them; or with other options."""
    logs = tmp_path / "dask"
    logs.mkdir()
    made = Cluster(tmp_path / "marks", logs)
    try:
        made.start_scheduler()
        made.start_worker("w1", *request.param)
        wait_for(made.answers)
        yield made
    finally:
        made.close()


class Run(threading.Thread):
    """A batch on the cluster, beside the test that disturbs it."""

    def __init__(self, jobs, out, address, **config):
        super().__init__(daemon=True)
        self._call = lambda: score(jobs, out, scheduler=address, **config)
        self.result = self.error = None
        self.start()

    def run(self):
        try:
            self.result = self._call()
        except BaseException as error:
            self.error = error

    def end(self):
        self.join(240)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error
        return self.result


def scoring_process(tmp_path, name):
    """The process that scores a slide which takes long the first time, and the Dask worker beside it."""
    mark = tmp_path / "marks" / f"{name}.tif"
    wait_for(mark.exists)
    process = psutil.Process(int(mark.read_text()))
    return process, process.parent()


def has_ended(process):
    """Whether a process has ended, be it that nobody has asked how (as the first process of a container may not)."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def done_once(out, names):
    assert sorted(line["slide"] for line in log(out, "slide_done")) == sorted(names)


def undisturbed(jobs, tmp_path):
    """What the same slides give here, one after the other, now that nothing takes long any more."""
    score(jobs, tmp_path / "undisturbed")
    return content(tmp_path / "undisturbed")


def test_worker_killed_in_mid_slide(tmp_path, slides, dask):
    jobs, out = slides("a", "once", "z"), tmp_path / "out"
    run = Run(jobs, out, dask.address)
    process, worker = scoring_process(tmp_path, "once")
    worker.kill()
    assert run.end().status == 0
    assert has_ended(process)  # with its worker
    done_once(out, ["a", "once", "z"])
    assert content(out) == undisturbed(jobs, tmp_path)


@pytest.mark.parametrize("dask", [["--no-nanny"]], indirect=True)  # a nanny would be given half a minute to answer
def test_machine_that_freezes_and_comes_back(tmp_path, slides, dask):
    jobs, out = slides("a", "once", "z"), tmp_path / "out"
    run = Run(jobs, out, dask.address)
    _, worker = scoring_process(tmp_path, "once")
    wait_for(lambda: any(line["slide"] == "once" for line in log(out, "slide_started")))  # before it can say no more
    worker.suspend()
    dask.start_worker("w2")
    assert run.end().status == 0
    worker.resume()
    done_once(out, ["a", "once", "z"])
    workers = [line["worker"] for line in log(out, "slide_started") if line["slide"] == "once"]
    assert len(set(workers)) == 2
    assert content(out) == undisturbed(jobs, tmp_path)


def test_scheduler_restarted(tmp_path, slides, dask, capsys):
    jobs, out = slides("a", "once", "z"), tmp_path / "out"
    run = Run(jobs, out, dask.address)
    scoring_process(tmp_path, "once")
    old = dask.processes[:]
    dask.scheduler.kill()
    wait_for(lambda: "is gone; waiting for it" in "".join(line["text"] for line in log(out, "notice")))
    dask.start_scheduler()
    dask.start_worker("w2")
    assert run.end().status == 0
    done_once(out, ["a", "once", "z"])
    assert any("slides are given to it again" in line["text"] for line in log(out, "notice"))
    assert content(out) == undisturbed(jobs, tmp_path)
    assert len(old) == 2


def test_scheduler_that_stays_away_ends_the_run(tmp_path, slides, dask, monkeypatch):
    monkeypatch.setattr(cluster, "_SCHEDULER_S", 1)
    jobs, out = slides("a", "once"), tmp_path / "out"
    run = Run(jobs, out, dask.address)
    scoring_process(tmp_path, "once")
    wait_for((out / "a" / "slide.json").exists)
    dask.scheduler.kill()
    with pytest.raises(UsageError, match="did not come back; the same command goes on"):
        run.end()
    assert table(out)["a"]["status"] == "done"
    assert score(jobs, out).status == 0
    assert content(out) == undisturbed(jobs, tmp_path)


def test_reader_that_crashes_or_hangs_leaves_the_worker_alone(tmp_path, slides, dask):
    jobs, out = slides("a", "crash", "once", "slow", "z"), tmp_path / "out"
    run = Run(jobs, out, dask.address, limit_s=4.0)
    _, worker = scoring_process(tmp_path, "once")
    assert run.end().status == 1
    assert worker.is_running()
    rows = table(out)
    assert rows["crash"]["reason"].startswith("the process that scored it was ended by SIGKILL")
    assert rows["slow"]["reason"] == "made no progress for 4 s and was stopped"
    assert {name for name, row in rows.items() if row["status"] == "done"} == {"a", "once", "z"}
    assert {line["slide"] for line in log(out, "slide_again")} == {"crash", "once", "slow"}
    wait_for(lambda: not worker.children())  # the run is over, and so are its processes
    assert any(line["text"].startswith("Dask dashboard: http://") for line in log(out, "notice"))


def test_the_real_networks_give_the_tables_of_a_local_run(tmp_path, dask):
    """The released weights on a slide: here and on the cluster; byte for byte but for times."""
    samples = Path(TESTS).parent / "data_samples"
    found = find_slides([samples / "P05_baseline_if.ome.tif"])
    ways = {"here": {}, "cluster": {"scheduler": dask.address}}
    for name, more in ways.items():
        assert score_jobs(*found, ScoreConfig(out=tmp_path / name, device="cpu", **more)).status == 0
    here = content(tmp_path / "here")
    assert sum(name.endswith("cells.csv") for name in here) == 1
    assert content(tmp_path / "cluster") == here


def test_workers_share_a_slide_and_one_of_them_is_lost(tmp_path, dask, monkeypatch):
    """In parts, of which a worker that is killed takes some with it: byte for byte what a local run gives."""
    dask.start_worker("w2")
    found = find_slides([Path(TESTS).parent / "data_samples" / "P05_baseline_if.ome.tif"])
    config = ScoreConfig(out=tmp_path / "here", device="cpu", tile_px=256)
    assert score_jobs(*found, config).status == 0
    cut, shares = [], []
    go_on = cluster.ClusterPool._go_on
    monkeypatch.setattr(
        cluster.ClusterPool, "_go_on", lambda pool, *what: (cut.append(what[1].parts), go_on(pool, *what))
    )

    class Watch:
        stopped = False

        def moved(self, name, share):
            shares.append(share)

    def kill_one():
        wait_for(lambda: cut)
        time.sleep(1.0)
        nanny = psutil.Process(dask.processes[1].pid)
        for process in nanny.children(recursive=True):  # the nanny starts another worker
            process.kill()

    threading.Thread(target=kill_one, daemon=True).start()
    out = tmp_path / "cluster"
    assert score_jobs(*found, replace(config, out=out, scheduler=dask.address), listener=Watch()).status == 0
    assert cut[0] >= 3
    shares = [share for share in shares if share > 0]  # 0: a start, or another of what was lost
    of_parts = [share for share in shares if share <= SCREENED_SHARE + 1e-9]
    assert of_parts[-1] == pytest.approx(SCREENED_SHARE)  # all parts were done
    assert shares[: len(of_parts)] == of_parts  # and then the last step, which where it takes long tells shares as well
    assert content(out) == content(tmp_path / "here")
    assert len(log(out, "slide_done")) == 1


def test_slides_wait_for_workers(tmp_path, slides, marks):
    dask = Cluster(tmp_path / "marks", tmp_path)
    out = tmp_path / "out"
    try:
        dask.start_scheduler()
        wait_for(dask.answers)
        run = Run(slides("a"), out, dask.address)
        wait_for(lambda: (out / "log.jsonl").is_file() and "no workers yet" in (out / "log.jsonl").read_text())
        dask.start_worker("late", "--no-nanny", "--resources", "cores=2")
        assert run.end().status == 0
    finally:
        dask.close()


def test_one_worker_of_another_version(tmp_path, slides, dask, monkeypatch):
    monkeypatch.setattr("dtcseg.batch.__version__", "9.9")
    monkeypatch.setattr("dtcseg.isolation.Order.__init__.__defaults__", (None, "", "9.9"))
    with pytest.raises(UsageError, match=r"a worker runs dtcseg .*, the run is of 9\.9; install the same on all"):
        score(slides("a"), tmp_path / "out", scheduler=dask.address)
