"""Whether the cells that `dtcseg ask` chooses are worth more than cells taken at random.

    python benchmarks/asking.py WORK [--seeds 1 2 3 4 5] [--processes 2]

A laboratory that the weights do not know (`learning_lab.py`) is scored: six slides to read; six, and ten ordinary ones,
to judge on. A reader who knows the truth answers for 50 cells that were asked for and, on the other hand, for 100 taken
at random. A look for this laboratory is fitted to both as `dtcseg train` does it, with simulated fields like the slides
that the cells are on; gate and operating point are left out, since they are the same for both. Then it looks at the
candidates of the slides to judge on. What is in WORK is not made again, and `learning.py WORK` makes the same slides
there. One line of JSON for each fit goes to WORK/asking.jsonl.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from dtcseg_training.fields import LOOK_INNER
from dtcseg_training.learn import Sizes
from dtcseg_training.learn.alike import set_simulator, sitters
from dtcseg_training.learn.judge import TUMOUR
from dtcseg_training.learn.proposal import proposed, threshold_for
from dtcseg_training.learn.simulated import draw_fields, load_fields
from dtcseg_training.learn.taught import TaughtCell, TaughtSlide
from dtcseg_training.learn.training_set import SlideCrops, write_set
from dtcseg_training.learn.tune import masks_of, plan_for, tune
from dtcseg_training.simulate import read_truth
from dtcseg_training.simulate.study import PER_MILLION
from learning_lab import ORDINARY, make_slides

from dtcseg.batch import score_jobs
from dtcseg.config import ScoreConfig
from dtcseg.manifest import find_slides
from dtcseg.network.model import LOOK_CLASSES
from dtcseg.network.weights import load, resolve
from dtcseg.review.asking import ask_items
from dtcseg.review.slides import open_results

if TYPE_CHECKING:
    import numpy.typing as npt
    from dtcseg_training.learn.simulated import FieldCrops, Kind

    from dtcseg.network.model import Look
    from dtcseg.review.slides import Item, ReviewSlide

ASKED, AT_RANDOM = 50, 100
RATES = (5.0, 20.0, 100.0)
"""False candidates per 10^6 cells of an ordinary slide, at which recall is read."""
_BESIDE_UM = 20.0


@dataclass(frozen=True)
class Candidates:
    """The candidates of some slides, with truth.

    Attributes
    ----------
    items : list of Item
    slides : tuple of SlideCrops
        Their crops and calls; `cells` name them by id.
    weights : dict of str to float
        How many false candidates per 10^6 cells of an ordinary slide each stands for, by id; NaN for tumour cells and
        for what lies beside one.
    """

    items: list[Item]
    slides: tuple[SlideCrops, ...]
    weights: dict[str, float]


def main() -> None:
    """Run all seeds and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    work: Path = options.work
    make_slides(work / "lab_train", "lab", 6, processes=options.processes)
    make_slides(work / "lab_test", "lab", 6, first=6, processes=options.processes)
    make_slides(work / "lab_ordinary", "lab", ORDINARY, first=100, ordinary=True, processes=options.processes)
    read = _candidates(work, "lab_train")
    judged = _candidates(work, "lab_test", "lab_ordinary")
    torch.set_num_threads(options.processes)
    _write(work, {"cells": "none", **_judge(load(resolve())[1], judged)})
    asked = _taught(work, {item.id for item in ask_items(read.items, set(), ASKED)}, read, options.processes)
    for seed in options.seeds:
        _write(work, _fit(work, f"{ASKED} asked", asked, seed, judged))
        rng = np.random.default_rng(seed)
        drawn = {read.items[k].id for k in rng.permutation(len(read.items))[:AT_RANDOM]}
        at_random = _taught(work, drawn, read, options.processes)
        _write(work, _fit(work, f"{AT_RANDOM} at random", at_random, seed, judged))


def _write(work: Path, line: dict[str, object]) -> None:
    text = json.dumps(line)
    with (work / "asking.jsonl").open("a") as file:
        file.write(text + "\n")
    print(text, flush=True)


@dataclass(frozen=True)
class Taught:
    """What is learned from: cells on their slides, and simulated fields like these slides."""

    slides: list[SlideCrops]
    fields: dict[str, list[FieldCrops]]


def _taught(work: Path, cells: set[str], read: Candidates, processes: int) -> Taught:
    info = resolve()
    _, start = load(info)
    slides = [part for slide in read.slides if len((part := _only(slide, cells)).calls)]
    masks = [masks_of(start, slide.crops, slide.spreads)[:, 0] for slide in slides]
    known = set_simulator(
        sitters(slides, masks), processes=processes, on_pilot=lambda done, total: None, stop=lambda: False
    )
    if known is None:
        raise RuntimeError("nobody asked to stop")
    fields = {}
    kinds: tuple[tuple[Kind, int], ...] = (("alike", Sizes().alike), ("aside", 2))
    for kind, count in kinds:
        draw_fields(
            work / "learn", kind, count, info, known, processes=processes, on_field=lambda n: None, stop=lambda: False
        )
        fields[kind] = load_fields(work / "learn", kind, count, info, known)
    threshold = threshold_for(fields["alike"], info.card.candidate_threshold)
    return Taught(slides, {kind: [proposed(field, threshold) for field in found] for kind, found in fields.items()})


def _fit(work: Path, name: str, taught: Taught, seed: int, judged: Candidates) -> dict[str, object]:
    keep = work / "asking" / f"{name.replace(' ', '_')}_{seed}.state"
    keep.parent.mkdir(exist_ok=True)
    calls = Counter(LOOK_CLASSES[call] for slide in taught.slides for call in slide.calls.tolist())
    tuned = tune(
        load(resolve())[1],
        taught.slides,
        taught.fields["alike"],
        taught.fields["aside"],
        plan_for(calls.total(), 0, seed, "cpu"),
        keep=keep,
        on_step=lambda done, curves: None,
        stop=lambda: False,
    )
    if tuned is None:
        raise RuntimeError("nobody asked to stop")
    told = {"cells": name, "seed": seed, "calls": dict(sorted(calls.items())), "slides": len(taught.slides)}
    return {**told, **_judge(tuned.look, judged)}


def _only(slide: SlideCrops, cells: set[str]) -> SlideCrops:
    """Leave only these cells in."""
    keep = np.array([cell["id"] in cells for cell in slide.cells], bool)
    parts = {name: getattr(slide, name)[keep] for name in ("crops", "masks", "told", "calls", "spreads")}
    return replace(slide, cells=tuple(c for c, k in zip(slide.cells, keep, strict=True) if k), **parts)


def _judge(look: Look, judged: Candidates) -> dict[str, object]:
    """Recall among candidates that are tumour cells: at rates of false candidates, and at a score of a half."""
    scores, true, weights = [], [], []
    for slide in judged.slides:
        scores.append(_scores(look, slide))
        true.append(slide.calls == TUMOUR)
        weights.append(np.array([judged.weights[cell["id"]] for cell in slide.cells]))
    p, tumour, weight = np.concatenate(scores), np.concatenate(true), np.concatenate(weights)
    false = ~tumour & np.isfinite(weight)
    order = np.argsort(-p[false], kind="stable")
    above = np.cumsum(weight[false][order])
    recalls = {}
    for rate in RATES:
        too_many = np.flatnonzero(above > rate)
        least = p[false][order][too_many[0]] if len(too_many) else -1.0
        recalls[f"recall_at_{rate:g}"] = round(float((p[tumour] > least).mean()), 4)
    return {
        **recalls,
        "recall": round(float((p[tumour] >= 0.5).mean()), 4),
        "false_calls": int((p[false] >= 0.5).sum()),
        "tumour_cells": int(tumour.sum()),
        "others": int(false.sum()),
    }


def _scores(look: Look, slide: SlideCrops) -> npt.NDArray[np.float64]:
    found = []
    with torch.inference_mode():
        for i in range(0, len(slide.calls), 16):
            crops = torch.from_numpy(np.ascontiguousarray(slide.crops[i : i + 16][LOOK_INNER], np.float32))
            _, calls = look(crops, torch.from_numpy(slide.spreads[i : i + 16]))
            found.append(calls.softmax(1)[:, TUMOUR].numpy())
    return np.concatenate(found).astype(np.float64) if found else np.zeros(0)


def _candidates(work: Path, *folders: str) -> Candidates:
    """Score slides of the laboratory, and tell the truth of every candidate."""
    slides: list[tuple[Path, ReviewSlide]] = []
    for name in folders:
        out = work / f"asking_{name}"
        if not (out / "report.html").exists():
            score_jobs(*find_slides([work / name], stain=None, mpp_um=None), ScoreConfig(out=out, model=""))
        slides += [(work / name / slide.record.file, slide) for slide in open_results(out).slides.values()]
    items, taught, weights = [], [], {}
    truths = [read_truth(file) for file, _ in slides]
    kinds = Counter(cell.kind for truth in truths for cell in truth.cells)
    cells = sum(len(truth.nuclei_px) for truth in truths)
    for (file, slide), truth in zip(slides, truths, strict=True):
        known = []
        for item in slide.items:
            call, kind, beside = _truth_at(item.cell.x_px, item.cell.y_px, truth, slide.record.mpp_um)
            apart = call != "tumour" and not beside
            weights[item.id] = (PER_MILLION[kind] / kinds[kind] if kind else 1e6 / cells) if apart else float("nan")
            ring = item.cell.outline_px
            known.append(TaughtCell(item.id, item.cell.x_px, item.cell.y_px, call, ring, False, None, "truth"))
        items += slide.items
        taught.append(TaughtSlide(slide.name, slide.folder.parent, slide.record, (file,), tuple(known), ()))
    data, problems = write_set(taught, frozenset(), [], work / "asking_sets")
    if problems:
        raise RuntimeError("; ".join(problems))
    return Candidates(items, data.slides, weights)


def _truth_at(x_px: float, y_px: float, truth: object, mpp_um: float) -> tuple[str, str, bool]:
    """Call and kind of what lies at a place (kind "": an ordinary cell or none), and whether a tumour cell is near."""
    best, kind, least, beside = "", "", np.inf, False
    for cell in truth.cells:  # type: ignore[attr-defined]
        distance_um = float(np.hypot(cell.x_px - x_px, cell.y_px - y_px)) * mpp_um
        beside |= cell.call == "tumour" and distance_um <= _BESIDE_UM
        if distance_um <= max(10.0, cell.diameter_um / 2) and distance_um < least:
            best, kind, least = cell.call, cell.kind, distance_um
    if best:
        return best, kind, beside
    nuclei = truth.nuclei_px  # type: ignore[attr-defined]
    near = np.hypot(*(nuclei - (x_px, y_px)).T).min() * mpp_um if len(nuclei) else np.inf
    return ("haematopoietic" if near <= 8.0 else "artefact"), "", beside


if __name__ == "__main__":
    main()
