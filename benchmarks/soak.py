"""Many slides unattended: none lost, memory flat, nothing leaked; and stopped at random, again and again, the same.

    python benchmarks/soak.py --work FOLDER [--slides 800] [--stops 10] [--workers 2]

First the slides are scored undisturbed, and memory, open files and processes of the whole family are watched. Then they
are scored into another folder by runs that are stopped at random times, half of them with Ctrl-C and half with kill -9,
each followed by the same command; at the end both folders must hold the same, byte for byte but for times.

Exit status 0: all of that holds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
from dtcseg_training.simulate import draw_slide_spec, write_slide

from dtcseg.runlog import LOG_FILE

DIFFERENT = 8
"""Slides that are really different; the others are copies of them under other names."""
SIDE_PX = 800
_SAMPLE_S = 0.5
_TIME = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?( UTC|Z)?")
_SECONDS = re.compile(rb'("seconds": |"finished": )[^,\n}]+')


@dataclass(frozen=True)
class Sample:
    """What the family of processes of a run holds at one time."""

    done: int
    rss_mib: float
    handles: int
    processes: int


def make_slides(folder: Path, count: int) -> None:
    """Write small slides of all stains, `count` in all, if they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    stains = ("new_fuchsin", "fast_red", "aec", "dab")
    made = []
    for number in range(min(DIFFERENT, count)):
        path = folder / f"slide_{number:04d}.ome.tif"
        if not path.exists():
            rng = np.random.default_rng(number)
            stain = stains[number % len(stains)]
            spec = draw_slide_spec(rng, stain=stain, mpp_um=0.5, size_px=(SIDE_PX, SIDE_PX), enriched=True)
            write_slide(path, spec, seed=number)
            for truth in folder.glob("*.truth*"):
                truth.unlink()
        made.append(path)
    for number in range(DIFFERENT, count):
        path = folder / f"slide_{number:04d}.ome.tif"
        if not path.exists():
            shutil.copyfile(made[number % DIFFERENT], path)


def start(slides: Path, out: Path, workers: int) -> subprocess.Popen[bytes]:
    """Start the command as a user would."""
    command = [str(Path(sys.executable).with_name("dtcseg")), "score", str(slides), "--out", str(out)]
    return subprocess.Popen(
        [*command, "--workers", str(workers), "--device", "cpu"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def count_done(out: Path) -> int:
    """Slides that are done, as their folders tell."""
    return sum(1 for _ in out.glob("*/slide.json"))


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Find the process and all its descendants."""
    try:
        parent = psutil.Process(process.pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def take_sample(process: subprocess.Popen[bytes], out: Path) -> Sample | None:
    """Measure the family once; None where it ended meanwhile."""
    rss, handles, members = 0, 0, family(process)
    try:
        for member in members:
            rss += member.memory_info().rss
            handles += member.num_fds()
    except psutil.NoSuchProcess:
        return None
    return Sample(count_done(out), rss / 2**20, handles, len(members)) if members else None


def watched_run(slides: Path, out: Path, workers: int) -> tuple[int, float, list[Sample]]:
    """Run to the end; exit status, seconds, and what was measured meanwhile."""
    begin = time.monotonic()
    process = start(slides, out, workers)
    samples: list[Sample] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(_SAMPLE_S):
            sample = take_sample(process, out)
            if sample is not None:
                samples.append(sample)

    watcher = threading.Thread(target=watch)
    watcher.start()
    status = process.wait()
    ended.set()
    watcher.join()
    return status, time.monotonic() - begin, samples


def stopped_runs(slides: Path, out: Path, options: argparse.Namespace, seconds: float) -> tuple[int, list[str]]:
    """Run to the end with stops at random times; last exit status, and what was wrong on the way.

    Each run is stopped when so many slides are done as was drawn, and then at any time of a slide.
    """
    chance = random.Random(options.seed)  # noqa: S311
    wrong = []
    goals = sorted(chance.sample(range(options.slides - options.workers), options.stops))
    for number, goal in enumerate(goals):
        process = start(slides, out, options.workers)
        while process.poll() is None and count_done(out) < goal:
            time.sleep(_SAMPLE_S)
        time.sleep(chance.uniform(0, options.workers * seconds / options.slides))
        if process.poll() is None:
            wrong += stop(process, signal.SIGINT if number % 2 else signal.SIGKILL)
        sys.stderr.write(f"stop {number + 1}: {count_done(out)} slides done\n")
    return start(slides, out, options.workers).wait(), wrong


def stop(process: subprocess.Popen[bytes], how: signal.Signals) -> list[str]:
    """Stop a run; what is wrong with how it ended."""
    members, wrong = family(process), []
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does
    else:
        process.kill()
    status = process.wait(60)
    if how == signal.SIGINT and status not in (130, 0, -signal.SIGINT):  # the last two: just at its end or its start
        wrong.append(f"after Ctrl-C the exit status was {status}")
    _, alive = psutil.wait_procs(members, timeout=10)
    if alive:
        wrong.append(f"{len(alive)} processes were left after {how.name}")
    return wrong


def mean_of(samples: list[Sample], first: int, last: int) -> Sample:
    """Mean of the samples taken while so many slides were done."""
    chosen = [sample for sample in samples if first <= sample.done <= last] or samples[-1:]
    rss, handles, processes = (
        float(np.mean([getattr(sample, name) for sample in chosen])) for name in ("rss_mib", "handles", "processes")
    )
    return Sample(last, rss, round(handles), round(processes))


def differences(one: Path, other: Path) -> list[str]:
    """Files that differ between two results folders, times apart."""
    names = {path.relative_to(root) for root in (one, other) for path in root.rglob("*") if path.is_file()}
    names = {name for name in names if name.name != LOG_FILE}
    return sorted(str(name) for name in names if _content(one / name) != _content(other / name))


def _content(path: Path) -> bytes:
    if not path.is_file():
        return b"(missing)"
    content = path.read_bytes()
    if path.name == "slides.csv":
        return b"\n".join(_without_column(content.splitlines(), b"seconds"))
    if path.name in ("slide.json", "run.json", "report.html"):
        return _SECONDS.sub(b"", _TIME.sub(b"", content))
    return content


def _without_column(lines: list[bytes], name: bytes) -> list[bytes]:
    """Leave a column out of a table; no cell of these slides holds a comma."""
    place = lines[0].split(b",").index(name)
    return [b",".join(cell for number, cell in enumerate(line.split(b",")) if number != place) for line in lines]


def logged_twice(out: Path) -> list[str]:
    """Slides that the log has as done more than once."""
    lines = [json.loads(line) for line in (out / LOG_FILE).read_text("ascii").splitlines() if line.endswith("}")]
    done = [line["slide"] for line in lines if line["event"] == "slide_done"]
    return sorted({name for name in done if done.count(name) > 1})


def main() -> int:
    """Make the slides, run all, print what was found."""
    parser = argparse.ArgumentParser(description="Many slides unattended, undisturbed and stopped at random.")
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps the slides; results are made anew")
    parser.add_argument("--slides", type=int, default=800)
    parser.add_argument("--stops", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the times of the stops")
    options = parser.parse_args()
    slides, calm, wild = (options.work / name for name in (f"slides_{options.slides}", "undisturbed", "stopped"))
    for out in (calm, wild):
        shutil.rmtree(out, ignore_errors=True)
    make_slides(slides, options.slides)

    status, seconds, samples = watched_run(slides, calm, options.workers)
    part = max(options.slides // 8, 1)
    warm = 4 * options.workers  # slides after which each process has loaded all that it needs
    first = mean_of(samples, warm, warm + part)
    last = mean_of(samples, options.slides - part, options.slides - 1)
    last_status, wrong = stopped_runs(slides, wild, options, seconds)
    found = {
        "slides": options.slides,
        "done": count_done(calm),
        "done after stops": count_done(wild),
        "seconds": round(seconds, 1),
        "first": asdict(first),
        "last": asdict(last),
        "memory": round(last.rss_mib / first.rss_mib, 3),
        "different files": differences(calm, wild),
        "done twice": logged_twice(wild),
        "wrong": wrong,
    }
    holds = (
        (status, last_status) == (0, 0)
        and found["done"] == found["done after stops"] == options.slides
        and last.rss_mib <= 1.05 * first.rss_mib
        and last.handles <= first.handles
        and last.processes <= first.processes
        and not (found["different files"] or found["done twice"] or wrong)
    )
    sys.stdout.write(json.dumps({**found, "holds": holds}, indent=1) + "\n")
    (options.work / "soak.json").write_text(json.dumps({**found, "samples": [asdict(s) for s in samples]}, indent=1))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
