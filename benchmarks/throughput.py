"""Pixel rate and memory of scoring, beside what else could be done with the same slide, in one run.

    python benchmarks/throughput.py --work FOLDER [--gigapixels 1.0]

(a) decoding every tile with imagecodecs: the floor; (b) `dtcseg score`; (c) the scikit-image recipe in use today
(unmix, threshold, distance transform, watershed, regionprops) on a crop; (d) StarDist 2D of default size with random
weights, the network only, on that crop (needs `pip install stardist tensorflow`; left out where it is not there).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
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
    """One line of the table; memory is the peak resident set, 0 where it was not taken."""

    what: str
    megapixels: float
    seconds: float
    peak_mib: float = 0.0

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


def decode_floor(path: Path) -> Row:
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

    start = time.perf_counter()
    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(decode, [places[i :: cores()] for i in range(cores())]))
    return Row("(a) decode only", size, time.perf_counter() - start)


def score(path: Path, what: str) -> Row:
    """Run `dtcseg score` as a user would; time is that of the whole process, start included."""
    with open_slide(path) as slide:
        size = slide.levels[0].width_px * slide.levels[0].height_px / 1e6
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        command = [str(Path(sys.executable).with_name("dtcseg")), "score", str(path), "--out", out, "--device", "cpu"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    if status:
        raise RuntimeError(f"dtcseg score ended with status {status}")
    to_mib = 1 / 1024 if sys.platform == "linux" else 1 / 1024**2
    return Row(what, size, seconds, usage.ru_maxrss * to_mib)


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


def timed(what: str, megapixels: float, work: Callable[[], object]) -> Row:
    """Time one call."""
    start = time.perf_counter()
    work()
    return Row(what, megapixels, time.perf_counter() - start)


def table(rows: list[Row]) -> str:
    """Markdown table with the ratios to (b)."""
    scoring = next(row for row in rows if row.what.startswith("(b)"))
    lines = ["| what | Mpx | s | Mpx/s | (b) is times as fast | peak MiB |", "|---|---|---|---|---|---|"]
    for row in rows:
        memory = f"{row.peak_mib:.0f}" if row.peak_mib else ""
        times = scoring.rate / row.rate
        lines.append(
            f"| {row.what} | {row.megapixels:.1f} | {row.seconds:.1f} | {row.rate:.1f} | {times:.2f} | {memory} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Make the slides, run all, print the table."""
    parser = argparse.ArgumentParser(description="Throughput and memory, side by side.")
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps the slides")
    parser.add_argument("--gigapixels", type=float, default=1.0)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    side = max(round(np.sqrt(options.gigapixels * 1e9) / REPEAT_PX / 2), 1) * 2 * REPEAT_PX
    whole, quarter = options.work / f"{side}.ome.tif", options.work / f"{side // 2}.ome.tif"
    make_slide(whole, side, 0.5)
    make_slide(quarter, side // 2, 0.5)
    with open_slide(whole) as slide:
        crop = slide.read(0, 0, 0, CROP_PX, CROP_PX).astype(np.uint8)
    rows = [
        decode_floor(whole),
        score(whole, "(b) dtcseg score"),
        score(quarter, "(b') dtcseg score, a quarter of the slide"),
        timed("(c) scikit-image recipe", CROP_PX**2 / 1e6, lambda: recipe(crop)),
    ]
    network = stardist(crop)
    if network is None:
        sys.stderr.write("(d) left out: stardist and tensorflow are not installed\n")
    else:
        rows.append(timed("(d) StarDist 2D, network only", (CROP_PX // 1024 * 1024) ** 2 / 1e6, network))
    sys.stdout.write(table(rows) + "\n")
    sys.stdout.write(f"\nThe second look takes {100 * share_of_look(quarter):.1f} % of the time of (b').\n")
    (options.work / "throughput.json").write_text(json.dumps([row.__dict__ for row in rows], indent=1))


if __name__ == "__main__":
    main()
