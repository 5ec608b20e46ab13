"""What a laboratory that the weights do not know gains by its reviews, and what spoiled reviews do.

    python benchmarks/learning.py WORK [--only 200 20 ...] [--processes 2]

Draws 6 + 6 slides of a new laboratory and 6 at home (`learning_lab.py`), scores the first six, lets a scripted reader
give verdicts through the real verdict log, learns from them by `dtcseg_training.learn`, and judges the weights on the
other slides of that laboratory and at home, and on ten ordinary slides of each, which hold next to nothing but ordinary
cells: 170,000 in all. "With controls" the reader's verdicts go together with two negative controls of that laboratory:
ordinary slides without a tumour cell, which nobody reads; "mislabelled" with one that is none, but as full of tumour
cells as those that were read. What is in WORK is not made again. One line of JSON for each
set of verdicts goes to WORK/figures.jsonl; processor seconds are those of the process and of those it started.
"""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from learning_lab import ORDINARY, Lie, make_slides, read_slides, recall_at

from dtcseg.network.model import LOOK_CLASSES

_AT = (5.0, 20.0, 100.0)
"""False candidates per 10^6 cells at which recall is read (`learning_lab.recall_at`)."""


def _flipped(word: str, rng: np.random.Generator) -> str:
    """One verdict in five is any of the other words."""
    others = [w for w in LOOK_CLASSES if w != word]
    return others[int(rng.integers(len(others)))] if rng.random() < 0.2 else word


def _swapped(word: str, rng: np.random.Generator) -> str:
    """Call what is haematopoietic a tumour cell, and the reverse."""
    return {"tumour": "haematopoietic", "haematopoietic": "tumour"}.get(word, word)


def _all_tumour(word: str, rng: np.random.Generator) -> str:
    return "tumour"


def _true(word: str, rng: np.random.Generator) -> str:
    return word


@dataclass(frozen=True)
class Case:
    """What is learned from.

    Attributes
    ----------
    count : int
        Verdicts in all.
    only : int or None
        On how many slides; None: on all.
    lie : callable
        What the reader says of the truth.
    controls : str
        Folder of WORK with control slides that nobody reads; "" for none.
    """

    count: int = 200
    only: int | None = None
    lie: Lie = _true
    controls: str = ""


_CONTROLS, _MISLABELLED = "lab_controls", "lab_mislabelled"
CASES = {
    "200": Case(),
    "200 with controls": Case(controls=_CONTROLS),
    "2000 with controls": Case(2000, controls=_CONTROLS),
    "20": Case(20),
    "20 with controls": Case(20, controls=_CONTROLS),
    "flipped": Case(lie=_flipped),
    "flipped with controls": Case(lie=_flipped, controls=_CONTROLS),
    "swapped": Case(lie=_swapped),
    "one patient": Case(only=1),
    "all tumour": Case(lie=_all_tumour),
    "mislabelled": Case(controls=_MISLABELLED),
}


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--model", default="")
    options = parser.parse_args()
    work: Path = options.work
    make_slides(work / "lab_train", "lab", 6, processes=options.processes)
    make_slides(work / "lab_test", "lab", 6, first=6, processes=options.processes)
    make_slides(work / "home", "home", 6, processes=options.processes)
    for kind in ("lab", "home"):
        place = work / f"{kind}_ordinary"
        make_slides(place, kind, ORDINARY, first=100, ordinary=True, processes=options.processes)
    _score(work / "lab_train", work / "results", options.model)
    for name, count, first, ordinary in ((_CONTROLS, 2, 200, True), (_MISLABELLED, 1, 300, False)):
        if any(CASES[case].controls == name for case in options.only):
            place = work / name
            drawn = {"first": first, "ordinary": ordinary, "processes": options.processes}
            make_slides(place, "lab", count, role="negative_control", **drawn)
            _score(place, _results_of(place), options.model)
    before = _judge(work, options.model)
    print(json.dumps({"verdicts": "before", **before}), flush=True)
    for name in options.only:
        line = {"verdicts": name, **_learn(work, name, options.model)}
        with (work / "figures.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)


def _score(slides: Path, out: Path, model: str) -> None:
    from dtcseg.batch import score_jobs
    from dtcseg.config import ScoreConfig
    from dtcseg.manifest import find_slides

    if not (out / "report.html").exists():
        score_jobs(*find_slides([slides], stain=None, mpp_um=None), ScoreConfig(out=out, model=model))


def _results_of(slides: Path) -> Path:
    return slides.with_name(f"results_of_{slides.name}")


def _learn(work: Path, name: str, model: str) -> dict[str, object]:
    from dtcseg_training.learn import Refused
    from dtcseg_training.learn.run import learn

    case = CASES[name]
    place = work / name.replace(" ", "_")
    results = place / "results"
    if not results.exists():
        shutil.copytree(work / "results", results, ignore=shutil.ignore_patterns("verdicts"))
        for folder in results.glob("*/slide.json"):
            (folder.parent / "verdicts").mkdir()
        read_slides(results, work / "lab_train", case.count, seed=1, lie=case.lie, only=case.only)
    controls = [_results_of(work / case.controls)] if case.controls else []
    try:
        outcome = learn([results, *controls], place / "lab.safetensors", model=model, work=work / "learn", device="cpu")
    except Refused as error:
        return {"promoted": False, "reason": str(error)}
    gate = outcome.gate
    told: dict[str, object] = {
        "promoted": outcome.promoted,
        "reason": outcome.reason,
        "warnings": list(gate.warnings),
        "cells": outcome.data.cells,
        "held_out": outcome.data.held_out,
        "from_controls": outcome.data.from_controls,
        "changed": len(outcome.changed),
        "processor_s": outcome.seconds,
        "threshold": outcome.threshold.text,
        "reference_recall": [str(s) for s in gate.reference.recall],
        "reference_false": [str(s) for s in gate.reference.false_calls],
        "reference_froc_change": gate.reference.froc_change,
    }
    if gate.lab is not None:
        told |= {"lab_gained": gate.lab.gained, "lab_lost": gate.lab.lost}
    if outcome.promoted or name in ("200", "200 with controls"):
        told |= _judge(work, str(outcome.challenger))
    return told


def _judge(work: Path, model: str) -> dict[str, object]:
    """Figures on the other slides of the laboratory and at home, by whole scoring."""
    from dtcseg_training.evaluate import evaluate
    from dtcseg_training.figures import false_calls, false_calls_beside, recall

    from dtcseg.network.weights import resolve

    kept = work / "judged" / f"{resolve(model).sha256[:16]}.json"
    if kept.exists():
        return dict(json.loads(kept.read_text()))
    told: dict[str, object] = {}
    for place, folders in (("lab", ("lab_test", "lab_ordinary")), ("home", ("home", "home_ordinary"))):
        results = evaluate(model, [work / folder for folder in folders], device="cpu")
        told |= {
            **{f"{place}_recall_at_{rate:g}": round(recall_at(results, rate), 4) for rate in _AT},
            f"{place}_called": str(recall(results)),
            f"{place}_false": false_calls(results) - false_calls_beside(results),
            f"{place}_false_beside": false_calls_beside(results),
            f"{place}_cells": sum(r.true_mnc for r in results),
        }
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps(told))
    return told


if __name__ == "__main__":
    main()
