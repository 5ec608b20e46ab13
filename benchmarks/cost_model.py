"""What a slide costs by stage, whether that predicts real runs, and what a national programme needs.

    python benchmarks/cost_model.py --work FOLDER [--side-px 16384] [--batch 16] [--gpu SECONDS]

1. Processor seconds and bytes, by stage, on a slide of `side-px` and on one of half that, at 0.5 and at 0.25 µm/px.
2. Real runs of `dtcseg score` over a batch of the smaller slide on 1, 2 and 4 workers, beside what the simulation of
   `queueing.py` says from (1) alone.
3. A programme of 10,000 patients a year, 8 slides each of 240 mm² at 0.25 µm/px: workers, storage, network.

`--gpu` is the seconds a gigapixel takes on a GPU (from `throughput.py` on such a machine), to give (3) for GPUs too.
For figures to keep, the machine must do nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from queueing import Costs, arrivals_of_a_year, batch_seconds, workers_needed
from scaling import timed_run
from throughput import REPEAT_PX, make_slide

import dtcseg.score as road
from dtcseg.config import ScoreConfig, SlideJob
from dtcseg.isolation import limit_threads
from dtcseg.results.folder import ResultsFolder
from dtcseg.results.record import Weights, make_record

STAGES = {
    "prepare": "overview, stains",
    "_look_at_all": "first look (whole slide)",
    "look_at": "second look (candidates)",
    "candidate_crops": "pictures",
}
PATIENTS, SLIDES_EACH, AREA_MM2, PROGRAMME_MPP_UM = 10_000, 8, 240.0, 0.25
WORKER_COUNTS = (1, 2, 4)
HOUR_S = 3600.0


@dataclass(frozen=True)
class Measured:
    """What one slide took.

    Attributes
    ----------
    gigapixels : float
    seconds : dict of str to float
        Processor time by stage; what of each is spent on reading (decoding) the file is in "reading" alone. Waiting for
        a share is in none of them: the bytes tell what it has to bring.
    write_s : float
    file_bytes, result_bytes, message_bytes : int
        Of the slide, of its results folder, and of what a worker sends back.
    """

    gigapixels: float
    seconds: dict[str, float]
    write_s: float
    file_bytes: int
    result_bytes: int
    message_bytes: int

    @property
    def total_s(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())


@contextmanager
def stage_times(slide: object) -> Iterator[dict[str, float]]:
    """Take the time of each stage, and apart from it that of reading, while slides of this class are scored."""
    spent: dict[str, float] = defaultdict(float)
    reading = 0.0

    def timed(stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            before, start = reading, time.process_time()
            try:
                return work(*arguments, **options)
            finally:
                spent[stage] += time.process_time() - start - (reading - before)

        return call

    def read(*arguments: Any, **options: Any) -> Any:
        nonlocal reading
        start = time.process_time()
        try:
            return real_read(*arguments, **options)
        finally:
            reading += time.process_time() - start

    cls: Any = type(slide)
    real_read = cls.read
    with ExitStack() as patches:
        patches.enter_context(mock.patch.object(cls, "read", read))
        for name, stage in STAGES.items():
            patches.enter_context(mock.patch.object(road, name, timed(stage, getattr(road, name))))
        yield spent
    spent["reading"] = reading


def measure(path: Path, out: Path) -> Measured:
    """Score and write a slide in this process, on one core."""
    info = road.resolve("")
    config = ScoreConfig(out=out, device="cpu")
    engine = road.load_engine(info, "cpu")
    job = SlideJob(name="slide", files=(path,))
    with road.open_slide(path) as slide:
        pixels = slide.levels[0].width_px * slide.levels[0].height_px
        with stage_times(slide) as spent:
            start = time.process_time()
            score = road.score_open(slide, job, engine, config)
            total = time.process_time() - start
    spent["the rest"] = total - sum(spent.values())
    shutil.rmtree(out, ignore_errors=True)
    start = time.perf_counter()
    with ResultsFolder(out) as folder:
        record = make_record(job, score, key="", weights=Weights(info.name, info.sha256), program="", seconds=total)
        folder.write_slide(job, score, record, score.crops)
    write_s = time.perf_counter() - start
    written = sum(one.stat().st_size for one in out.rglob("*") if one.is_file())
    return Measured(pixels / 1e9, dict(spent), write_s, path.stat().st_size, written, len(pickle.dumps(score)))


def fit(small: Measured, large: Measured, start_s: float) -> Costs:
    """Lay a line through two slides: seconds a slide, and a gigapixel."""
    slope = (large.total_s - small.total_s) / (large.gigapixels - small.gigapixels)
    return Costs(start_s, max(small.total_s - slope * small.gigapixels, 0.0), slope, small.write_s)


def stage_table(slides: dict[str, Measured]) -> str:
    """Markdown table: seconds of a core a gigapixel by stage, and bytes."""
    lines = ["| a gigapixel | " + " | ".join(slides) + " |", "|---|" + "---|" * len(slides)]
    stages = list(next(iter(slides.values())).seconds)
    for stage in stages:
        cells = [f"{one.seconds[stage] / one.gigapixels:.1f} s" for one in slides.values()]
        lines.append(f"| {stage} | " + " | ".join(cells) + " |")
    for what, value in (
        ("**all**", lambda one: f"{one.total_s / one.gigapixels:.1f} s"),
        ("writing", lambda one: f"{one.write_s / one.gigapixels:.2f} s"),
        ("slide file", lambda one: f"{one.file_bytes / one.gigapixels / 1e6:.0f} MB"),
        ("results", lambda one: f"{one.result_bytes / one.gigapixels / 1e6:.1f} MB"),
        ("sent by a worker", lambda one: f"{one.message_bytes / one.gigapixels / 1e6:.1f} MB"),
    ):
        lines.append(f"| {what} | " + " | ".join(value(one) for one in slides.values()) + " |")
    return "\n".join(lines)


def check(path: Path, work: Path, batch: int, small: Measured, costs: Costs) -> tuple[str, list[dict[str, float]]]:
    """Run batches for real and in simulation; a table, and its rows."""
    slides = work / "cost_batch"
    shutil.rmtree(slides, ignore_errors=True)
    slides.mkdir(parents=True)
    for number in range(batch):
        os.link(path, slides / f"slide_{number:02d}.ome.tif")
    lines, rows = ["| workers | cores | real s | simulated s | error |", "|---|---|---|---|---|"], []
    for workers in WORKER_COUNTS:
        cores = min(workers, len(os.sched_getaffinity(0)))
        real = timed_run(slides, work / "cost_results", "--workers", str(workers), cores=cores)
        work_s = [costs.of_slide(small.gigapixels)] * batch
        said = batch_seconds(work_s, workers, cores, start_s=costs.start_s, write_s=costs.write_s)
        lines.append(f"| {workers} | {cores} | {real:.1f} | {said:.1f} | {100 * (said / real - 1):+.0f} % |")
        rows.append({"workers": workers, "real_s": real, "simulated_s": said})
    return "\n".join(lines), rows


def programme(costs: Costs, like: Measured, gpu_s: float | None) -> str:
    """Say what a year of the programme needs."""
    slides = PATIENTS * SLIDES_EACH
    gigapixels = AREA_MM2 / PROGRAMME_MPP_UM**2 / 1e3
    arrivals = arrivals_of_a_year(slides, seed=0)
    peak = slides / 250 / 10 / HOUR_S
    lines = [
        f"{slides:,} slides of {gigapixels:.2f} gigapixels a year; in working hours one every {1 / peak:.1f} s.",
        f"Slides: {slides * gigapixels * like.file_bytes / like.gigapixels / 1e12:.0f} TB a year, results: "
        f"{slides * gigapixels * like.result_bytes / like.gigapixels / 1e12:.2f} TB.",
        f"Read in working hours: {peak * gigapixels * like.file_bytes / like.gigapixels / 1e6:.0f} MB/s.",
        "",
        "| worker | s a slide | at work | 99 % within 1 h | within 12 h | within 24 h |",
        "|---|---|---|---|---|---|",
    ]
    kinds = {"one core": costs.of_slide(gigapixels), "8 cores": costs.of_slide(gigapixels) / 8}
    if gpu_s is not None:
        kinds["GPU"] = gpu_s * gigapixels
    for kind, service in kinds.items():
        busy = slides * service / (365 * 24 * HOUR_S)
        needs = [
            str(workers_needed(arrivals, service, hours * HOUR_S)) if service < hours * HOUR_S else "-"
            for hours in (1, 12, 24)
        ]
        lines.append(f"| {kind} | {service:.0f} | {busy:.1f} on average | {' | '.join(needs)} |")
    return "\n".join([*lines, "", end_of_batch(costs, gigapixels)])


def end_of_batch(costs: Costs, gigapixels: float) -> str:
    """Say what is lost at the end of a batch where a task is a whole slide, as among the processes of one machine."""
    lines = ["A batch of 800 slides of 50 to 100 % of that size, against slides that could be divided at will:"]
    work = [costs.of_slide(gigapixels * (0.5 + 0.5 * ((7 * number) % 16) / 15)) for number in range(800)]
    for workers in (2, 8, 32, 128):
        lost = batch_seconds(work, workers, workers) / (sum(work) / workers) - 1
        lines.append(f"- {workers} workers: {100 * lost:.1f} % more time")
    return "\n".join(lines)


def start_seconds(path: Path, work: Path, small: Measured) -> float:
    """Seconds that a run of one slide takes beside scoring and writing it."""
    slides = work / "cost_one"
    shutil.rmtree(slides, ignore_errors=True)
    slides.mkdir(parents=True)
    os.link(path, slides / "slide.ome.tif")
    real = timed_run(slides, work / "cost_results", "--workers", "1", cores=1)
    return max(real - small.total_s - small.write_s, 0.0)


def main() -> None:
    """Measure, check, extrapolate, print."""
    parser = argparse.ArgumentParser(description="Cost model by stage, checked, and a national programme.")
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps the slides")
    parser.add_argument("--side-px", type=int, default=16384, help=f"of the larger; n * {2 * REPEAT_PX}")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--gpu", type=float, help="seconds a gigapixel takes on a GPU")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    limit_threads(1)
    import torch

    torch.set_num_threads(1)
    paths = {}
    for mpp_um in (0.5, 0.25):
        for side_px in (options.side_px // 2, options.side_px):
            path = options.work / f"cost_{mpp_um}_{side_px}.ome.tif"
            make_slide(path, side_px, mpp_um)
            paths[mpp_um, side_px] = path
    out = options.work / "cost_results"
    measure(paths[0.5, options.side_px // 2], out)  # loads what is loaded once
    found = {key: measure(path, out) for key, path in paths.items()}
    sys.stdout.write(
        stage_table({f"{side_px} px, {mpp_um} µm/px": one for (mpp_um, side_px), one in found.items()}) + "\n\n"
    )
    small, large = (found[0.5, side] for side in (options.side_px // 2, options.side_px))
    start_s = start_seconds(paths[0.5, options.side_px // 2], options.work, small)
    costs = fit(small, large, start_s)
    sys.stdout.write(f"At 0.5 µm/px: {json.dumps(asdict(costs))}\n\n")
    checked, rows = check(paths[0.5, options.side_px // 2], options.work, options.batch, small, costs)
    sys.stdout.write(checked + "\n\n")
    fine = fit(found[0.25, options.side_px // 2], found[0.25, options.side_px], start_s)
    sys.stdout.write(programme(fine, found[0.25, options.side_px], options.gpu) + "\n")
    kept = {"slides": {str(key): asdict(one) for key, one in found.items()}, "costs": asdict(costs), "checked": rows}
    (options.work / "cost_model.json").write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
