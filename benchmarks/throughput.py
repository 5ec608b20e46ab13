"""Pixel rate and memory of scoring, beside what else could be done with the same slide, in one run.

    python benchmarks/throughput.py --work FOLDER [--gigapixels 1.0]

Of a slide at 0.5 and of one at 0.25 µm/px: (a) decoding every tile of level 0 with imagecodecs, the floor; (b) `dtcseg
score`; (b s) the same with `--count sampled`; (b g) the same on the GPU, with the share of the time it is busy, where
there is one. Then (c) the scikit-image recipe in use today (unmix, threshold, distance transform, watershed,
regionprops) on a crop; (d) StarDist 2D of default size with random weights, the network only, on that crop (needs `pip
install stardist tensorflow`; left out where it is not there). Beside the time on the clock stand processor seconds of
all cores, which say more where the machine has other things to do.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import tifffile
from dtcseg_training.simulate import draw_spec, write_slide

from dtcseg.parallel import cores
from dtcseg.slide import open_slide

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

CROP_PX = 3200
"""Side of the crop for (c) and (d): 10.2 megapixels."""
REPEAT_PX = 4096
_SPECIAL = (("tumour_single", 1), ("hc_even", 2), ("hc_vacuolar", 2), ("debris", 2), ("dust", 3))
"""Objects on each repeated field of about 9,000 cells: many more than on a real slide, so nothing is made easy."""


@dataclass(frozen=True)
class Row:
    """One line of the table; memory is the peak resident set, 0 where it was not taken.

    `mpp_um` tells the two slides apart.
    """

    what: str
    mpp_um: float
    megapixels: float
    seconds: float
    processor_s: float
    peak_mib: float = 0.0
    gpu_busy: float | None = None

    @property
    def rate(self) -> float:
        """Megapixels (level 0) a second."""
        return self.megapixels / self.seconds


def make_slide(path: Path, side_px: int, mpp_um: float) -> None:
    """Write a red-stained pyramid of JPEG tiles by repeating one field of 16 megapixels, if it is not there yet."""
    if path.exists():
        return
    spec = draw_spec(np.random.default_rng(11), stain="new_fuchsin", mpp_um=mpp_um, size_px=(side_px, side_px))
    spec = replace(spec, density_per_mm2=2100.0, counts=_SPECIAL, camera=replace(spec.camera, jpeg_quality=85))
    beside = path.with_name("part_" + path.name)
    write_slide(beside, spec, seed=11, repeat_px=REPEAT_PX)
    beside.replace(path)


def decode_floor(path: Path, mpp_um: float) -> Row:
    """Decode every level-0 tile with imagecodecs on all cores."""
    with tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        tables, size = page.jpegtables, page.imagewidth * page.imagelength / 1e6

    def decode(part: list[tuple[int, int]]) -> None:
        with path.open("rb") as stream:
            for offset, count in part:
                stream.seek(offset)
                imagecodecs.jpeg8_decode(stream.read(count), tables=tables, colorspace="YCBCR", outcolorspace="RGB")

    def work() -> None:
        with ThreadPoolExecutor(cores()) as pool:
            list(pool.map(decode, [places[i :: cores()] for i in range(cores())]))

    return timed("(a) decode only", mpp_um, size, work)


def score(path: Path, mpp_um: float, what: str, *options: str) -> Row:
    """Run `dtcseg score` as a user would; time is that of the whole process, start included."""
    with open_slide(path) as slide:
        size = slide.levels[0].width_px * slide.levels[0].height_px / 1e6
    program = str(Path(sys.executable).with_name("dtcseg"))
    with tempfile.TemporaryDirectory() as out, GpuWatch() as gpu:
        start = time.perf_counter()
        process = subprocess.Popen([program, "score", str(path), "--out", out, *options], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    if status:
        raise RuntimeError(f"dtcseg score ended with status {status}")
    to_mib = 1 / 1024 if sys.platform == "linux" else 1 / 1024**2
    busy = gpu.busy if "cuda" in options else None
    return Row(what, mpp_um, size, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * to_mib, busy)


class GpuWatch:
    """Asks the NVIDIA driver every half second how busy the first GPU is; `busy` is the mean, 0..1."""

    def __init__(self) -> None:
        self._seen: list[float] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> GpuWatch:
        """Begin."""
        if has_gpu():
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """End."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def busy(self) -> float | None:
        """Mean share of the time; None where nothing was seen."""
        return float(np.mean(self._seen)) / 100 if self._seen else None

    def _look(self) -> None:
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--id=0"]
        while not self._end.wait(0.5):
            said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
            self._seen.extend([float(said)] if said.isdigit() else [])


def has_gpu() -> bool:
    """Whether PyTorch finds a CUDA device and its driver can be asked."""
    import torch

    return torch.cuda.is_available() and shutil.which("nvidia-smi") is not None


def share_of_look(path: Path) -> float:
    """Share of the time of scoring a slide, networks already loaded, that the second look takes."""
    from unittest import mock

    import dtcseg.score as road
    from dtcseg.config import ScoreConfig, SlideJob

    spent = 0.0
    look_at = road.look_at

    def timed_look(*arguments: Any, **options: Any) -> Any:
        nonlocal spent
        start = time.perf_counter()
        found = look_at(*arguments, **options)
        spent += time.perf_counter() - start
        return found

    config = ScoreConfig(out=path.parent, device="cpu")
    road.load_engine(road.resolve(""), "cpu")
    start = time.perf_counter()
    with mock.patch.object(road, "look_at", timed_look):
        road.score_slide(SlideJob(name=path.stem, files=(path,)), config)
    return spent / (time.perf_counter() - start)


def recipe(crop: npt.NDArray[np.uint8]) -> None:
    """Count nuclei and chromogen the way scikit-image's own examples do."""
    from scipy import ndimage
    from skimage.color import rgb2hed
    from skimage.feature import peak_local_max
    from skimage.filters import threshold_otsu
    from skimage.measure import label, regionprops_table
    from skimage.segmentation import watershed

    stains = rgb2hed(crop)
    nuclear = stains[..., 0] > threshold_otsu(stains[..., 0])
    distance = ndimage.distance_transform_edt(nuclear)
    peaks = peak_local_max(distance, min_distance=5, labels=label(nuclear))
    markers = np.zeros(nuclear.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    cells = watershed(-distance, markers, mask=nuclear)
    regionprops_table(cells, stains[..., 2], properties=("label", "area", "centroid", "mean_intensity"))


def stardist(crop: npt.NDArray[np.uint8]) -> Callable[[], None] | None:
    """StarDist's default network with random weights, or None where it is not installed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        from stardist.models import Config2D, StarDist2D
    except ImportError:
        return None
    model = StarDist2D(Config2D(n_channel_in=3), name=None, basedir=None)
    tile = crop[:1024, :1024].astype(np.float32)[None] / 255
    model.keras_model.predict(tile[:, :256, :256], verbose=0)

    def run() -> None:
        for y in range(0, CROP_PX - 1023, 1024):
            for x in range(0, CROP_PX - 1023, 1024):
                model.keras_model.predict(crop[None, y : y + 1024, x : x + 1024].astype(np.float32) / 255, verbose=0)

    return run


def timed(what: str, mpp_um: float, megapixels: float, work: Callable[[], object]) -> Row:
    """Time one call."""
    start, used = time.perf_counter(), time.process_time()
    work()
    return Row(what, mpp_um, megapixels, time.perf_counter() - start, time.process_time() - used)


def table(rows: list[Row]) -> str:
    """Markdown table; the ratios are those of the times on the clock, to (a) and to (b) of the same pixel size."""
    lines = [
        "| what | µm/px | Mpx | s | core s | Mpx/s | times (a) | (b) is times as fast | peak MiB | GPU busy |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        known = {one.what[:4]: one for one in rows if one.mpp_um == row.mpp_um}
        floor = f"{known['(a) '].rate / row.rate:.1f}" if row.what.startswith("(b") else ""
        memory = f"{row.peak_mib:.0f}" if row.peak_mib else ""
        busy = "" if row.gpu_busy is None else f"{100 * row.gpu_busy:.0f} %"
        lines.append(
            f"| {row.what} | {row.mpp_um} | {row.megapixels:.1f} | {row.seconds:.1f} | {row.processor_s:.1f} | "
            f"{row.rate:.1f} | {floor} | {known['(b) '].rate / row.rate:.2f} | {memory} | {busy} |"
        )
    return "\n".join(lines)


def rows_of(path: Path, mpp_um: float) -> list[Row]:
    """Floor and scoring of one slide, one after the other."""
    rows = [
        decode_floor(path, mpp_um),
        score(path, mpp_um, "(b) `dtcseg score`", "--device", "cpu"),
        score(path, mpp_um, "(b s) … `--count sampled`", "--device", "cpu", "--count", "sampled"),
    ]
    if has_gpu():
        rows.append(score(path, mpp_um, "(b g) … on the GPU", "--device", "cuda"))
    return rows


def main() -> None:
    """Make the slides, run all, print the table."""
    parser = argparse.ArgumentParser(description="Throughput and memory, side by side.")
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps the slides")
    parser.add_argument("--gigapixels", type=float, default=1.0)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    side = max(round(np.sqrt(options.gigapixels * 1e9) / REPEAT_PX / 2), 1) * 2 * REPEAT_PX
    coarse, fine = options.work / f"{side}.ome.tif", options.work / f"{side}_fine.ome.tif"
    make_slide(coarse, side, 0.5)
    make_slide(fine, side, 0.25)
    rows = [*rows_of(coarse, 0.5), *rows_of(fine, 0.25)]
    with open_slide(coarse) as slide:
        crop = slide.read(0, 0, 0, CROP_PX, CROP_PX).astype(np.uint8)
    rows.append(timed("(c) scikit-image recipe", 0.5, CROP_PX**2 / 1e6, lambda: recipe(crop)))
    network = stardist(crop)
    if network is None:
        sys.stderr.write("(d) left out: stardist and tensorflow are not installed\n")
    else:
        seen = (CROP_PX // 1024 * 1024) ** 2 / 1e6
        rows.append(timed("(d) StarDist 2D, network only", 0.5, seen, network))
    sys.stdout.write(table(rows) + "\n")
    sys.stdout.write(f"\nThe second look takes {100 * share_of_look(coarse):.1f} % of the time of (b).\n")
    (options.work / "throughput.json").write_text(json.dumps([row.__dict__ for row in rows], indent=1))


if __name__ == "__main__":
    main()
