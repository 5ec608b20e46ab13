"""Hold the counts of a results folder against the truth of simulated slides.

Tumour calls must be as many as there are tumour cells; the nucleated cells counted must be right to 5 %.

Usage: check_demo.py SLIDES RESULTS      exit status 1 when any slide differs
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq

MNC_TOLERANCE = 0.05


class Counts(NamedTuple):
    """Tumour cells and nucleated cells of one slide."""

    tumour: int
    mnc: int


def true_counts(slides: Path) -> dict[str, Counts]:
    """Read the truth of each slide, by slide name, from `<slide>.truth.csv` and `<slide>.truth_nuclei.parquet`."""
    counts = {}
    for path in sorted(slides.glob("*.truth.csv")):
        name = path.name.removesuffix(".truth.csv")
        with path.open(newline="", encoding="utf-8") as file:
            tumour = sum(row["call"] == "tumour" for row in csv.DictReader(file))
        counts[name] = Counts(tumour, pq.read_metadata(slides / f"{name}.truth_nuclei.parquet").num_rows)
    return counts


def called_counts(results: Path) -> dict[str, Counts]:
    """Read the counts of each slide that was scored, by slide name, from `slides.csv`."""
    with (results / "slides.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.DictReader(file) if row["tumour"]]
    return {row["slide"]: Counts(int(row["tumour"]), int(row["mnc"])) for row in rows}


def agrees(called: Counts | None, true: Counts) -> bool:
    """Whether a slide was scored, and counted right."""
    if called is None or called.tumour != true.tumour:
        return False
    return abs(called.mnc - true.mnc) <= MNC_TOLERANCE * true.mnc


def main(slides: Path, results: Path) -> int:
    """Print one line a slide, counted beside true; return the exit status."""
    truth, called = true_counts(slides), called_counts(results)
    if not truth:
        print(f"{slides} holds no *.truth.csv", file=sys.stderr)
        return 1
    wrong = 0
    width = max(map(len, truth))
    print(f"{'':<{width}}    tumour cells  nucleated cells")
    print(f"{'slide':<{width}}    counted true     counted  true")
    for name, true in truth.items():
        found = called.get(name)
        right = agrees(found, true)
        wrong += not right
        tumour, mnc = (found.tumour, found.mnc) if found else ("-", "-")
        remark = "" if right else "  <- differs" if found else "  <- not scored"
        print(f"{name:<{width}}    {tumour:>7} {true.tumour:>4}     {mnc:>7} {true.mnc:>5}{remark}")
    print("All counts match the truth." if not wrong else f"{wrong} of {len(truth)} slides differ from the truth.")
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
