"""How quick the review is on a slide of a gigapixel with 5,000 candidates, and what it needs.

    python benchmarks/review.py [--keys 200] [--candidates 5000] [--side-px 32768] [--out FOLDER]

Draws a slide (one square that is repeated) and a made-up results folder over it, opens both in a real napari (under
Linux without a screen: put `xvfb-run -a` before it) and presses the key of a verdict again and again. A cell counts as
painted when Qt says that the frame with it was swapped to the screen. Beside the time on the clock stands the processor
time of the process: on a machine that is shared with other work only that can be compared. Memory is that of the
process: with an empty napari, and its peak at the end.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

MPP_UM = 0.5
CALLS = ("tumour", "uninterpretable", "haematopoietic", "artefact")


def make_results(root: Path, candidates: int, side_px: int) -> Path:
    """Draw the slide and write its results; gives the results folder."""
    from dtcseg_training.simulate import draw_spec, write_slide
    from dtcseg_training.simulate.study import draw_counts

    from dtcseg.cells import Candidate, SlideScore
    from dtcseg.config import SlideJob
    from dtcseg.results.folder import ResultsFolder, RunInfo
    from dtcseg.results.record import Weights, make_record
    from dtcseg.stain.brightfield import CHROMOGENS, HEMATOXYLIN, BrightfieldProfile

    rng = np.random.default_rng(0)
    path = root / "slides" / "gigapixel.ome.tif"
    path.parent.mkdir(parents=True)
    square = min(2048, side_px)
    spec = draw_spec(rng, stain="new_fuchsin", mpp_um=MPP_UM, size_px=(square, square), enriched=True)
    counts = draw_counts(rng, spec, enriched=True)
    write_slide(path, replace(spec, counts=counts, size_px=(side_px, side_px)), 0, spots=False, repeat_px=square)
    angles = np.linspace(0, 2 * np.pi, 49)
    cells = []
    for number in range(candidates):
        x, y = rng.uniform(100, side_px - 100, 2).round(2)
        radius = 20 * (1 + 0.15 * np.sin(3 * angles + number))
        ring = np.column_stack([x + radius * np.cos(angles), y + radius * np.sin(angles)])
        score = round(1 - number / candidates, 4)
        cells.append(
            Candidate(
                x_px=float(x),
                y_px=float(y),
                score=score,
                call=CALLS[min(int(4 * (1 - score)), 3)],
                outline_px=ring,
                diameter_um=20.0,
                area_um2=314.0,
                nucleus_area_um2=90.0,
                ck_od=0.4,
                ck_over_nucleus=0.5,
                neighbours=10,
                cluster_id=0,
                nucleus_ratio=1.4,
            )
        )
    profile = BrightfieldProfile(
        "new_fuchsin", "flag", (245.0, 245.0, 245.0), HEMATOXYLIN, CHROMOGENS["new_fuchsin"], 1.0, estimated=False
    )
    score = SlideScore(
        stain="new_fuchsin",
        stain_source="flag",
        mpp_um=MPP_UM,
        mpp_source="vendor",
        width_px=side_px,
        height_px=side_px,
        area_mm2=(side_px * MPP_UM / 1000) ** 2,
        mnc=100_000,
        mnc_low=98_000.0,
        mnc_high=102_000.0,
        candidates=tuple(cells),
        nuclei_px=rng.uniform(0, side_px, (100_000, 2)).astype(np.float32),
        excluded_mm2={},
        qc=(),
        details={"profile": profile.to_json()},
    )
    job = SlideJob(name="gigapixel", files=(path,))
    record = make_record(job, score, key="benchmark", weights=Weights("none", "0" * 64), program="0", seconds=1.0)
    out = root / "results"
    with ResultsFolder(out) as folder:
        folder.write_slide(job, score, record)
        folder.write_summaries(RunInfo("0", {"name": "none", "sha256": "0" * 64}, "cpu", {}, ""), last=True)
    return out


def measure(results: Path, keys: int) -> dict[str, float]:
    """Open the review in this process and press keys."""
    start = time.perf_counter()
    import napari
    import psutil
    from dtcseg_napari._review_dock import ReviewDock
    from qtpy.QtCore import Qt
    from qtpy.QtOpenGLWidgets import QOpenGLWidget
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QApplication

    viewer = napari.Viewer(show=True)
    viewer.window.resize(1600, 1100)
    viewer.window.activate()
    app = QApplication.instance()
    _settle(app, 1.0)
    process = psutil.Process()
    figures = {"napari_s": time.perf_counter() - start - 1.0, "napari_mib": process.memory_info().rss / 2**20}
    canvas = next(w for w in app.allWidgets() if isinstance(w, QOpenGLWidget) and w.isVisible())
    frames: list[float] = []
    canvas.frameSwapped.connect(lambda: frames.append(time.perf_counter()))

    def painted(since: float) -> float:
        while not frames or frames[-1] < since:
            app.processEvents()
        return frames[-1]

    begin, begin_cpu = time.perf_counter(), time.process_time()
    dock = ReviewDock(viewer)
    viewer.window.add_dock_widget(dock, name="Review", area="right")
    dock.open_results(results, "benchmark")
    figures["first_picture_s"] = painted(time.perf_counter()) - begin
    figures["first_picture_cpu_s"] = time.process_time() - begin_cpu
    _settle(app, 1.0)
    begin, begin_cpu = time.perf_counter(), time.process_time()
    dock.leave()
    dock.open_results(results, "benchmark")
    figures["opened_again_s"] = painted(time.perf_counter()) - begin
    figures["opened_again_cpu_s"] = time.process_time() - begin_cpu
    _settle(app, 3.0)
    took_ms, cpu_ms = [], []
    for number in range(keys):
        pressed, pressed_cpu = time.perf_counter(), time.process_time()
        QTest.keyClick(canvas, Qt.Key.Key_T if number % 3 else Qt.Key.Key_A)
        shown = painted(time.perf_counter())
        took_ms.append(1000 * (shown - pressed))
        cpu_ms.append(1000 * (time.process_time() - pressed_cpu))
        _settle(app, 0.15)
    page = dock.page
    if page is None or page.session.progress()[0] != keys:
        raise SystemExit("the keys did not arrive")
    figures |= {"key_median_ms": float(np.median(took_ms)), "key_p95_ms": float(np.percentile(took_ms, 95))}
    figures |= {"key_cpu_median_ms": float(np.median(cpu_ms)), "key_cpu_p95_ms": float(np.percentile(cpu_ms, 95))}
    figures["disk_median_ms"] = float(np.median(_disk(results)))
    figures["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        2**20 if sys.platform == "darwin" else 1024
    )
    figures["above_napari_mib"] = figures["peak_mib"] - figures["napari_mib"]
    dock.leave()
    viewer.close()
    return figures


def _disk(results: Path) -> list[float]:
    """Time of one entry alone, from the call to the disk's answer."""
    from dtcseg.verdicts import open_log, read_candidates

    folder = results / "gigapixel"
    took = []
    with open_log(folder, "disk") as log:
        for cell in read_candidates(folder)[:50]:
            begin = time.perf_counter()
            log.give(cell, "tumour")
            took.append(1000 * (time.perf_counter() - begin))
    return took


def _settle(app: object, seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        app.processEvents()  # type: ignore[attr-defined]
        time.sleep(0.002)


def main() -> None:
    """Make the slide, measure in a process of its own, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=200)
    parser.add_argument("--candidates", type=int, default=5000)
    parser.add_argument("--side-px", type=int, default=32_768)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        print(json.dumps(measure(chosen.measure, chosen.keys)))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = chosen.out or Path(folder)
        results = root / "results"
        if not results.is_dir():
            results = make_results(root, chosen.candidates, chosen.side_px)
        for log in results.glob("*/verdicts/*"):
            log.unlink()
        command = [sys.executable, __file__, "--measure", str(results), "--keys", str(chosen.keys)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        figures = json.loads(done.stdout.splitlines()[-1])
    for name, value in figures.items():
        print(f"{name:18s} {value:8.1f}")


if __name__ == "__main__":
    main()
