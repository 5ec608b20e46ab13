"""What a second worker brings, and what Dask costs: the same slides here and on a local Dask cluster, in one run.

    python benchmarks/scaling.py --work FOLDER [--slides 16] [--side-px 8192] [--repeats 3]

(a) this machine, one process on one core; (b) two processes on two cores; (c) a Dask cluster of one single-thread
worker; (d) of two. Each is the whole command as a user would run it, on an empty results folder; scheduler and workers
are there before. The cases take turns, and the median of the repeats counts. For figures to keep, the machine must do
nothing else. A slide of the default size (67 megapixels, a sixteenth of a real one or less) takes some ten seconds, so
that what is paid once a run, about eight seconds of starting, does not drown the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from dtcseg_training.simulate import draw_slide_spec, write_slide
from throughput import REPEAT_PX

PROGRAM = str(Path(sys.executable).with_name("dtcseg"))
CASES = ("(a) here, 1 process", "(b) here, 2 processes", "(c) Dask, 1 worker", "(d) Dask, 2 workers")


def make_slides(folder: Path, count: int, side_px: int) -> None:
    """Write red-stained slides as they are (no enrichment), if they are not there yet; large ones repeat a field."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = folder / f"slide_{number:02d}.ome.tif"
        if path.exists():
            continue
        rng = np.random.default_rng(number)
        spec = draw_slide_spec(rng, stain="new_fuchsin", mpp_um=0.5, size_px=(side_px, side_px))
        write_slide(path, spec, seed=number, repeat_px=REPEAT_PX if side_px > REPEAT_PX else None)
        for truth in folder.glob("*.truth*"):
            truth.unlink()


@contextmanager
def dask_cluster(workers: int) -> Iterator[str]:
    """Start a scheduler and single-thread workers as a user would; gives the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    port = address.rpartition(":")[2]
    base = [sys.executable, "-m"]
    commands = [[*base, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]]
    commands += [
        [*base, "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"] for _ in range(workers)
    ]
    processes = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for command in commands
    ]
    try:
        _wait_for_workers(address, workers)
        yield address
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait()


def _wait_for_workers(address: str, count: int) -> None:
    from distributed import Client

    deadline = time.monotonic() + 60
    while True:
        with suppress(OSError), Client(address, timeout=5, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=60)
            return
        if time.monotonic() > deadline:
            raise TimeoutError("the Dask cluster did not start")


def timed_run(slides: Path, out: Path, *options: str, cores: int) -> float:
    """Run the command on so many cores, on an empty folder; seconds."""
    shutil.rmtree(out, ignore_errors=True)
    command = [PROGRAM, "score", str(slides), "--out", str(out), "--device", "cpu", *options]
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    start = time.perf_counter()
    subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, allowed),
    )
    return time.perf_counter() - start


def run_case(case: str, slides: Path, out: Path) -> float:
    """Run one of `CASES`; seconds."""
    number = 2 if "2" in case else 1
    if "here" in case:
        return timed_run(slides, out, "--workers", str(number), cores=number)
    with dask_cluster(number) as address:
        return timed_run(slides, out, "--scheduler", address, cores=2)


def table(seconds: dict[str, list[float]]) -> str:
    """Markdown table of the medians with the ratios that matter."""
    a, b, c, d = (statistics.median(seconds[case]) for case in CASES)
    lines = ["| what | s (median) | all runs |", "|---|---|---|"]
    for case, median in zip(CASES, (a, b, c, d), strict=True):
        lines.append(f"| {case} | {median:.1f} | {', '.join(f'{one:.1f}' for one in seconds[case])} |")
    lines += [
        "",
        f"Two Dask workers are {c / d:.2f} times as fast as one (two processes here: {a / b:.2f} times).",
        f"Dask takes {100 * (c / a - 1):.1f} % more than one process here, {100 * (d / b - 1):.1f} % more than two.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Make the slides, run all cases in turn, print the table."""
    parser = argparse.ArgumentParser(description="Scaling over workers, and what Dask costs.")
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps the slides")
    parser.add_argument("--slides", type=int, default=16)
    parser.add_argument("--side-px", type=int, default=2 * REPEAT_PX)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    slides = options.work / f"scaling_{options.slides}_{options.side_px}"
    make_slides(slides, options.slides, options.side_px)
    seconds: dict[str, list[float]] = {case: [] for case in CASES}
    for _ in range(options.repeats):
        for case in CASES:
            seconds[case].append(run_case(case, slides, options.work / "scaling_results"))
            sys.stderr.write(f"{case}: {seconds[case][-1]:.1f} s\n")
    sys.stdout.write(table(seconds) + "\n")
    (options.work / "scaling.json").write_text(json.dumps(seconds, indent=1))


if __name__ == "__main__":
    main()
