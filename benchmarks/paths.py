"""Every fast way of scoring against the plain one: the same calls, and by how much scores differ.

    python benchmarks/paths.py --work FOLDER [--fields 100] [SLIDE ...]

The plain way is the networks as they are trained (float32, eager, batch normalisation not folded in) and every nucleus
counted. Against it: the way of `dtcseg score` on a CPU, the same with `--count sampled`, and on a GPU where there is
one. Slides are those named (the samples of the repository by default) and simulated fields of 0.5 mm. Exit status 1:
a call differs, or a candidate is there in one way only.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from dtcseg_training.simulate import draw_spec, write_slide
from scipy.spatial import cKDTree

from dtcseg.config import ScoreConfig, SlideJob
from dtcseg.network.engine import Engine
from dtcseg.network.weights import WeightsInfo, load, resolve
from dtcseg.score import score_open
from dtcseg.slide import open_slide

if TYPE_CHECKING:
    from dtcseg.cells import SlideScore

STAINS = ("new_fuchsin", "fast_red", "aec", "dab", "if")
SIDE_PX, MPP_UM = 1024, 0.5
SAME_UM = 1.0
"""Candidates this close are one object."""
TOLERANCE = 0.005
"""Most that a score may differ on a CPU; the calls may not differ at all."""


@dataclass
class Difference:
    """How one way differs from the plain one, over all slides."""

    slides: int = 0
    candidates: int = 0
    other_calls: int = 0
    only_in_one: int = 0
    score: float = 0.0
    most_nuclei: int = 0
    nuclei: list[int] = field(default_factory=lambda: [0, 0])

    def add(self, plain: SlideScore, fast: SlideScore) -> None:
        """Compare one slide."""
        self.slides += 1
        self.candidates += len(plain.candidates)
        pairs = _pairs(plain, fast)
        self.only_in_one += len(plain.candidates) + len(fast.candidates) - 2 * len(pairs)
        for i, j in pairs:
            one, other = plain.candidates[i], fast.candidates[j]
            self.other_calls += one.call != other.call
            self.score = max(self.score, abs(one.score - other.score))
        self.most_nuclei = max(self.most_nuclei, abs(plain.mnc - fast.mnc))
        self.nuclei = [self.nuclei[0] + plain.mnc, self.nuclei[1] + fast.mnc]

    @property
    def said(self) -> str:
        """What has been found so far, in a few words: a run that is cut short has said it."""
        return f"{self.other_calls} other calls, {self.only_in_one} in one only, scores differ by {self.score:.4f}"

    @property
    def same_calls(self) -> bool:
        """Whether every candidate is there in both ways with one call."""
        return not self.other_calls and not self.only_in_one


def plain_engine(info: WeightsInfo) -> Engine:
    """Return an engine that runs the networks as they are trained."""
    engine = Engine(info, "cpu")
    engine._screen, look = load(info)
    engine._integers = None
    engine._looks = [(look, *engine._looks[0][1:])]
    return engine


def compare(slides: list[Path], info: WeightsInfo) -> dict[str, Difference]:
    """Score every slide in every way."""
    plain, fast = plain_engine(info), Engine(info, "cpu")
    ways = {"CPU": (fast, "all"), "CPU, --count sampled": (fast, "sampled")}
    if torch.cuda.is_available():
        ways["CUDA"] = (Engine(info, "cuda"), "all")
    found = {name: Difference() for name in ways}
    config = ScoreConfig(out=Path())
    for number, path in enumerate(slides, 1):
        with open_slide(path) as slide:
            job = SlideJob(name=path.name.split(".")[0], files=(path,))
            truth = score_open(slide, job, plain, config)
            for name, (engine, count) in ways.items():
                found[name].add(truth, score_open(slide, job, engine, replace(config, count=count)))
        so_far = ", ".join(f"{name}: {one.said}" for name, one in found.items())
        sys.stderr.write(f"{number} of {len(slides)} ({path.name}); {so_far}\n")
    return found


def draw_fields(folder: Path, number: int) -> list[Path]:
    """Simulate fields of every stain in turn, if they are not there yet."""
    paths = []
    for seed in range(number):
        path = folder / f"field_{seed:03d}.ome.tif"
        if not path.exists():
            rng = np.random.default_rng([7, seed])
            spec = draw_spec(rng, stain=STAINS[seed % len(STAINS)], mpp_um=MPP_UM, size_px=(SIDE_PX, SIDE_PX))
            beside = path.with_name("part_" + path.name)
            write_slide(beside, spec, seed=seed)
            beside.replace(path)
        paths.append(path)
    return paths


def table(found: dict[str, Difference]) -> str:
    """Markdown table, one line a way."""
    lines = [
        "| way | slides | candidates | other call | only in one | largest difference of score | nuclei, plain and so |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in found.items():
        lines.append(
            f"| {name} | {one.slides} | {one.candidates} | {one.other_calls} | {one.only_in_one} | {one.score:.4f} | "
            f"{one.nuclei[0]}, {one.nuclei[1]} (at most {one.most_nuclei} a slide) |"
        )
    return "\n".join(lines)


def main() -> int:
    """Compare and print."""
    parser = argparse.ArgumentParser(description="Fast ways of scoring against the plain one.")
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps the simulated fields")
    parser.add_argument("--fields", type=int, default=100)
    parser.add_argument("slides", type=Path, nargs="*")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    samples = sorted((Path(__file__).parents[1] / "data_samples").glob("*.ome.tif"))
    found = compare([*(options.slides or samples), *draw_fields(options.work, options.fields)], resolve(""))
    sys.stdout.write(table(found) + "\n")
    on_cpu = [one for name, one in found.items() if name.startswith("CPU")]
    return 0 if all(one.same_calls for one in found.values()) and all(one.score <= TOLERANCE for one in on_cpu) else 1


def _pairs(plain: SlideScore, fast: SlideScore) -> list[tuple[int, int]]:
    """Candidates of both that are one object."""
    places = [
        np.array([(c.x_px, c.y_px) for c in score.candidates]).reshape(-1, 2) * score.mpp_um for score in (plain, fast)
    ]
    if not all(map(len, places)):
        return []
    apart, nearest = cKDTree(places[1]).query(places[0])
    return [(i, int(j)) for i, (far, j) in enumerate(zip(apart, nearest, strict=True)) if far <= SAME_UM]


if __name__ == "__main__":
    sys.exit(main())
