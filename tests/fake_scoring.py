"""Scorers that stand in for the network: fast, exact, importable by name in other processes.

The name of the slide says what happens to it: `slow…` takes a while, `crash…` kills its process, and so on.
"""

from __future__ import annotations

import os
import signal
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dtcseg.cells import CALLS, Candidate, SlideScore
from dtcseg.errors import SlideError, UnreadableSlide, UsageError
from dtcseg.results.record import Weights

if TYPE_CHECKING:
    from dtcseg.config import SlideJob

WEIGHTS = Weights("fake", "f" * 64)
MPP_UM = 0.5


def candidate(x_px=100.0, y_px=200.0, call="tumour", score=0.9, outline=None, **changes) -> Candidate:
    if outline is None:
        angle = np.linspace(0, 2 * np.pi, 33)
        outline = np.column_stack([x_px + 20 * np.cos(angle), y_px + 20 * np.sin(angle)])
        outline[-1] = outline[0]
    cell = Candidate(
        x_px=x_px,
        y_px=y_px,
        score=score,
        call=call,
        outline_px=np.asarray(outline, dtype=np.float64),
        diameter_um=20.0,
        area_um2=314.159,
        nucleus_area_um2=120.5,
        ck_od=0.4321,
        ck_over_nucleus=0.75,
        neighbours=7,
        cluster_id=0,
    )
    return replace(cell, **changes)


def slide_score(candidates=(), mnc=500_000, area_mm2=240.0, qc=(), **changes) -> SlideScore:
    nuclei = np.random.default_rng(7).random((min(mnc, 1000), 2), dtype=np.float32) * 1000
    score = SlideScore(
        stain="new_fuchsin",
        stain_source="image",
        mpp_um=MPP_UM,
        mpp_source="vendor",
        width_px=40_000,
        height_px=30_000,
        area_mm2=area_mm2,
        mnc=mnc,
        mnc_low=mnc * 0.98,
        mnc_high=mnc * 1.02,
        candidates=tuple(candidates),
        nuclei_px=nuclei[np.lexsort((nuclei[:, 0], nuclei[:, 1]))],
        excluded_mm2={"blurred": 1.5},
        qc=tuple(qc),
        details={"device": "cpu", "white": np.array([250.0, 251.0, np.nan]), "spots": [(1, 2)]},
    )
    return replace(score, **changes)


def score_by_name(name: str) -> SlideScore:
    """What is on a slide follows from its name, by a hash that is the same in every process."""
    rng = np.random.default_rng(zlib.crc32(name.encode("utf-8", "surrogateescape")))
    cells = [
        candidate(
            x_px=float(rng.uniform(100, 39_000)),
            y_px=float(rng.uniform(100, 29_000)),
            call=CALLS[int(rng.integers(len(CALLS)))],
            score=round(float(rng.random()), 4),
        )
        for _ in range(int(rng.integers(0, 12)))
    ]
    return slide_score(sorted(cells, key=lambda cell: (-cell.score, cell.y_px, cell.x_px)))


def score(job: SlideJob, config, on_progress) -> SlideScore:
    name = job.files[0].name
    on_progress(0.5)
    if name.startswith("bad"):
        raise UnreadableSlide(job.files[0], "the file is cut off; copy it again")
    if name.startswith("bug"):
        raise ZeroDivisionError("a fault\nof the program")
    if name.startswith("memory"):
        raise MemoryError
    if name.startswith("usage"):
        raise UsageError("no CUDA device here; try --device cpu")
    if name.startswith("crash"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("exit"):
        os._exit(3)
    if name.startswith("slow"):
        marks = os.environ.get("DTCSEG_TEST_MARKS")
        if marks:
            Path(marks, f"{name}.{os.getpid()}").touch()
        time.sleep(float(os.environ.get("DTCSEG_TEST_SLEEP", "0.2")))
    if name.startswith("once") and _first_time(name):
        time.sleep(float(os.environ.get("DTCSEG_TEST_SLEEP", "0.2")))
    if name.startswith("gone"):
        job.files[0].unlink()
    if name.startswith("patchy") and _first_time(name):
        return replace(score_by_name(name), excluded_mm2={"unreadable": 1.0})
    if job.files[0].read_bytes() == b"partial":
        raise UnreadableSlide(job.files[0], "is truncated")
    on_progress(1.0)
    return score_by_name(name)


def _first_time(name: str) -> bool:
    """Whether a slide is scored for the first time; the mark says by which process."""
    mark = Path(os.environ["DTCSEG_TEST_MARKS"], name)
    if mark.exists():
        return False
    beside = mark.with_suffix(".new")
    beside.write_text(str(os.getpid()))
    beside.rename(mark)
    return True


def score_and_count(job: SlideJob, config, on_progress) -> SlideScore:
    """Score, and leave a mark for each time a slide was scored."""
    with open(Path(os.environ["DTCSEG_TEST_MARKS"]) / "scored", "a") as file:
        file.write(job.files[0].name + "\n")
    return score(job, config, on_progress)


def memory_settings(job: SlideJob, config, on_progress) -> SlideScore:
    raise UnreadableSlide(job.files[0], f"memory {os.environ.get('MALLOC_TRIM_THRESHOLD_', 'as usual')}")


def slide_error(path: Path) -> SlideError:
    return UnreadableSlide(path, "bad")
