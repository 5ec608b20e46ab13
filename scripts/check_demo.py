"""Hold the counts of a results folder against the truth of simulated slides.

Usage: check_demo.py SLIDES RESULTS      exit status 1 when any slide differs
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path


def true_counts(slides: Path) -> dict[str, int]:
    """Tumour cells of each slide, by slide name, from `<slide>.truth.csv`."""
    counts = {}
    for path in sorted(slides.glob("*.truth.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            counts[path.name.removesuffix(".truth.csv")] = sum(row["call"] == "tumour" for row in csv.DictReader(file))
    return counts


def called_counts(results: Path) -> dict[str, int]:
    """Tumour calls of each slide that was scored, by slide name, from `slides.csv`."""
    with (results / "slides.csv").open(newline="", encoding="utf-8") as file:
        return {row["slide"]: int(row["tumour"]) for row in csv.DictReader(file) if row["tumour"]}


def main(slides: Path, results: Path) -> int:
    """Print one line a slide, called beside true; return the exit status."""
    truth, called = true_counts(slides), called_counts(results)
    if not truth:
        print(f"{slides} holds no *.truth.csv", file=sys.stderr)
        return 1
    wrong = 0
    width = max(map(len, truth))
    print(f"{'slide':<{width}}  called  true")
    for name, true in truth.items():
        found = called.get(name)
        wrong += found != true
        shown = "not scored" if found is None else str(found)
        print(f"{name:<{width}}  {shown:>6}  {true:>4}{'' if found == true else '  <- differs'}")
    print("All counts match the truth." if not wrong else f"{wrong} of {len(truth)} slides differ from the truth.")
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
