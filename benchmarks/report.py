"""How long the report of a large made-up cohort takes, how much memory, and how the page behaves in a browser.

    python benchmarks/report.py [--patients 500] [--timepoints 4] [--slides 4] [--out FOLDER]

Writes the records and cells of a made-up cohort (nothing was scored), makes its report in a process of its own, and
prints time, peak memory and sizes. The cohort has three arms, another assay, controls, and hostile names.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from dtcseg.cells import Candidate
from dtcseg.quality._codes import Code
from dtcseg.results.candidates import cells_csv, cells_geojson
from dtcseg.results.record import FileIdentity, SlideRecord, Weights, to_json
from dtcseg.results.text import csv_bytes

TIMES = ("baseline", "C3", "C6", "C12", "+6 mo", "+12 mo")
ARMS = ("observation", "A", "A + B")
EFFECTS = {"observation": 0.9, "A": 0.35, "A + B": 0.15}
HOSTILE = ("<img src=x onerror=alert(1)>", "=cmd|'/C calc'!A0", "</script><script>alert(1)</script>")
CALLS = ("tumour", "uninterpretable", "haematopoietic", "artefact")
MNC_PER_SLIDE = 500_000
RUN = {
    "program": "0.1.0",
    "weights": {"name": "made up", "sha256": "0" * 64},
    "device": "none",
    "settings": {},
    "started": "2026-01-01T00:00:00Z",
    "ended": "2026-01-01T01:00:00Z",
    "failed": [],
}


def make_cohort(root: Path, patients: int, timepoints: int, slides: int, *, seed: int = 0, pictures: int = 12) -> None:
    """Write a results folder.

    Parameters
    ----------
    root : Path
        Made; must not be there.
    patients, timepoints, slides : int
        Patients, time points of each, sample slides of each specimen (beside controls).
    seed : int
    pictures : int
        Different made-up pictures of cells.
    """
    rng = np.random.default_rng(seed)
    crops = [_picture(rng, call) for call in CALLS for _ in range(pictures)]
    root.mkdir(parents=True)
    arms, assays = [], []
    for number in range(patients):
        name = HOSTILE[number] if number < len(HOSTILE) else f"P{number:04d}"
        arm = ARMS[number % len(ARMS)]
        arms.append({"patient": name, "arm": arm, "control": "yes" if arm == "observation" else "no"})
        rate = float(rng.gamma(0.35, 3.0))  # per 10^6 at the start; many near none, few with many
        lasting = float(rng.gamma(4.0, 0.25))
        for at in range(timepoints):
            now = rate * (EFFECTS[arm] * lasting if at else 1.0) * float(rng.gamma(6.0, 1 / 6))
            for slide in range(slides):
                name_of = f"s{number:04d}-{at}-{slide}"
                found = int(rng.poisson(now * MNC_PER_SLIDE / 1e6))
                _write_slide(root, name_of, name, TIMES[at], "sample", found, rng, crops)
            if number % 4 == 0:
                name_of = f"s{number:04d}-{at}-isotype"
                _write_slide(
                    root, name_of, name, TIMES[at], "isotype_control", 0, rng, crops, mnc=slides * MNC_PER_SLIDE
                )
            if at % 2 == 0:
                value = float(rng.gamma(0.5, 0.4)) * (now > 0.6)
                row = {"patient": name, "timepoint": TIMES[at], "assay": "ctDNA", "value": f"{value:.3f}"}
                assays.append(row | {"unit": "% VAF", "detected": "yes" if value > 0.02 else "no"})
    for number in range(20):
        _write_slide(root, f"neg-{number:02d}", "", "", "negative_control", int(rng.random() < 0.1), rng, crops)
    for number in range(8):
        found = int(rng.poisson(46))
        _write_slide(root, f"pos-{number:02d}", "", "", "positive_control", found, rng, crops, expected=50.0)
    (root / "run.json").write_text(json.dumps(RUN), "utf-8")
    (root / "arms.csv").write_bytes(csv_bytes(("patient", "arm", "control"), arms))
    (root / "assays.csv").write_bytes(csv_bytes(("patient", "timepoint", "assay", "value", "unit", "detected"), assays))


def _write_slide(
    root: Path,
    name: str,
    patient: str,
    timepoint: str,
    role: str,
    found: int,
    rng: np.random.Generator,
    crops: list[bytes],
    *,
    mnc: float = MNC_PER_SLIDE,
    expected: float | None = None,
) -> None:
    words = ["tumour"] * found + [str(word) for word in rng.choice(CALLS[1:], size=int(rng.integers(1, 8)))]
    cells = tuple(_cell(word, rng) for word in words)
    screened = int(rng.normal(mnc, mnc * 0.06))
    bad = rng.random() < 0.01
    flags = (f"blurred:{rng.integers(1, 9)}%",) if rng.random() < 0.2 else ()
    record = SlideRecord(
        slide=name,
        key="k",
        files=(f"/slides/{name}.svs",),
        identity=(FileIdentity(f"{name}.svs", int(rng.integers(1 << 40)), int(rng.integers(1 << 60))),),
        channels=(),
        patient=patient,
        timepoint=timepoint,
        role=role,
        stain="new_fuchsin",
        stain_source="image",
        mpp_um=0.25,
        mpp_source="vendor",
        width_px=60_000,
        height_px=60_000,
        area_mm2=float(round(rng.normal(225, 8), 2)),
        mnc=screened,
        mnc_low=round(screened * 0.961, 1),
        mnc_high=round(screened * 1.039, 1),
        calls={call: words.count(call) for call in CALLS},
        qc=("not_assessable", "blurred:72%") if bad else flags,
        excluded_mm2={},
        weights=Weights("made up", "0" * 64),
        program="0.1.0",
        seconds=60.0,
        finished="2026-01-01T00:30:00Z",
        details={"quality": _quality(rng, bad=bool(bad))},
        expected=expected,
    )
    folder = root / name
    (folder / "crops").mkdir(parents=True)
    (folder / "verdicts").mkdir()
    for number, word in enumerate(words[:12], start=1):
        kinds = len(crops) // len(CALLS)
        picture = crops[CALLS.index(word) * kinds + int(rng.integers(kinds))]
        (folder / "crops" / f"{number:03d}.png").write_bytes(picture)
    (folder / "cells.csv").write_bytes(cells_csv(name, cells, 0.25))
    (folder / "cells.geojson").write_bytes(cells_geojson(name, cells, 0.25))
    (folder / "nuclei.parquet").write_bytes(b"")
    (folder / "slide.json").write_bytes(to_json(record))


def _cell(word: str, rng: np.random.Generator) -> Candidate:
    tumour = word == "tumour"
    x, y = rng.uniform(8000, 52_000, 2)
    return Candidate(
        x_px=float(x),
        y_px=float(y),
        score=float(rng.beta(20, 2) if tumour else rng.beta(2, 8)),
        call=word,  # type: ignore[arg-type]
        outline_px=np.array([[x - 30, y - 30], [x + 30, y - 30], [x, y + 30]]),
        diameter_um=float(rng.normal(21 if tumour else 12, 2)),
        area_um2=float(rng.normal(340 if tumour else 115, 20)),
        nucleus_area_um2=float(rng.normal(170 if tumour else 55, 8)),
        ck_od=float(rng.normal(0.7, 0.1)),
        ck_over_nucleus=float(rng.uniform(0.2, 0.9)),
        neighbours=int(rng.integers(0, 12)),
        cluster_id=0,
        nucleus_ratio=float(rng.normal(2.4 if tumour else 1.0, 0.2)),
        ck_granularity=float(rng.uniform(0.05, 0.4)),
    )


def _quality(rng: np.random.Generator, *, bad: bool) -> dict[str, object]:
    side = 40
    y, x = np.mgrid[:side, :side]
    codes = np.where(np.hypot(x - side / 2, y - side / 2) < side * 0.42, int(Code.SCREENED), int(Code.OUTSIDE))
    cx, cy = rng.uniform(10, 30, 2)
    blurred = (np.hypot(x - cx, y - cy) < (20 if bad else rng.uniform(0, 5))) & (codes == int(Code.SCREENED))
    codes[blurred] = int(Code.BLURRED)
    lines = ["".join(map(str, line)) for line in codes.tolist()]
    return {"block_um": 64.0 * 6, "width_um": side * 384.0, "height_um": side * 384.0, "codes": lines}


def _picture(rng: np.random.Generator, call: str) -> bytes:
    """Paint what a crop looks like: 128 x 128 px of 0.5 µm, haematoxylin nuclei, one cell in red, outline and bar."""
    side = 128
    image = Image.new("RGB", (side * 2, side * 2), (238, 233, 236))
    draw = ImageDraw.Draw(image)
    for _ in range(14):
        x, y, r = rng.uniform(0, 256), rng.uniform(0, 256), rng.uniform(11, 15)
        if np.hypot(x - 128, y - 128) > 52:
            tone = int(rng.integers(-12, 12))
            draw.ellipse((x - r, y - r, x + r, y + r * 0.95), fill=(120 + tone, 112 + tone, 168 + tone))
    size = {"tumour": 42, "uninterpretable": 36, "haematopoietic": 25, "artefact": 20}[call]
    angle = np.linspace(0, 2 * np.pi, 40)
    wobble = size * (1 + 0.08 * np.sin(3 * angle + rng.uniform(0, 6)) + 0.05 * np.sin(5 * angle))
    ring = [(128 + r * np.cos(a), 128 + r * np.sin(a)) for r, a in zip(wobble, angle, strict=True)]
    draw.polygon(ring, fill=(196, 44, 92) if call != "artefact" else (120, 30, 50))
    if call != "artefact":
        r = size * 0.55
        draw.ellipse((128 - r, 128 - r, 128 + r, 128 + r), fill=(96, 70, 140))
    draw.line([*ring, ring[0]], fill=(0, 229, 255), width=3)
    draw.line((168, 242, 248, 242), fill=(10, 10, 10), width=5)
    small = image.resize((side, side), Image.Resampling.LANCZOS)
    noisy = np.clip(np.asarray(small, float) + rng.normal(0, 4, (side, side, 1)), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, format="PNG")
    return buffer.getvalue()


_MEASURED = """
import resource, sys, time
from pathlib import Path
start = time.monotonic()
from dtcseg.results.folder import refresh
done = refresh(Path(sys.argv[1]))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(time.monotonic() - start, peak / 1024, len(done.warnings))
"""


def measure(root: Path) -> tuple[float, float, int]:
    """Make the report in a process of its own: seconds, peak memory in MiB, remarks on the input."""
    done = subprocess.run([sys.executable, "-c", _MEASURED, str(root)], capture_output=True, text=True, check=True)
    seconds, peak, warnings = done.stdout.split()
    return float(seconds), float(peak), int(warnings)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="Time and memory of the report of a large made-up cohort.")
    parser.add_argument("--patients", type=int, default=500)
    parser.add_argument("--timepoints", type=int, default=4)
    parser.add_argument("--slides", type=int, default=4)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = asked.out or Path(folder) / "results"
        if not (root / "run.json").exists():
            start = time.monotonic()
            make_cohort(root, asked.patients, asked.timepoints, asked.slides)
            print(f"cohort written in {time.monotonic() - start:.0f} s")
        seconds, peak, warnings = measure(root)
        size = (root / "report.html").stat().st_size
        slides = sum(1 for entry in os.scandir(root) if entry.is_dir())
        print("| patients | slides | seconds | peak MiB | report.html MiB | remarks |")
        print("|---:|---:|---:|---:|---:|---:|")
        print(f"| {asked.patients} | {slides} | {seconds:.1f} | {peak:.0f} | {size / 2**20:.1f} | {warnings} |")


if __name__ == "__main__":
    main()
