"""Slides of laboratories as the training draws them, scored: what weights know, for `dtcseg.drift` to compare with.

python -m dtcseg_training.known_slides RESULTS weights/NAME.known.json --slides 240

The slides are scored and thrown away; RESULTS keeps what scoring said of them, and the command goes on after a stop.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from dtcseg import __version__
from dtcseg.cells import STAINS
from dtcseg.config import ScoreConfig, SlideJob
from dtcseg.drift.reference import Reference, measure_folder, to_json
from dtcseg.errors import SlideError
from dtcseg.network.weights import resolve
from dtcseg.results.atomic import write_file
from dtcseg.results.folder import ResultsFolder, RunInfo
from dtcseg.results.record import Weights, failed_slide, make_record, now_utc, resume_key
from dtcseg.score import score_slide
from dtcseg_training.fields import unusual
from dtcseg_training.simulate.slides import write_slide
from dtcseg_training.simulate.spec import FieldSpec, draw_spec, without_tumour
from dtcseg_training.simulate.study import COVERED, draw_counts, draw_tumour

_SEED = 9_000_000
"""Used for nothing else; the families that weights are judged on have others."""
_MPP_UM = ((0.25, 0.35, 0.5, 0.65, 0.85), (0.08, 0.12, 0.6, 0.1, 0.1))
"""Pixel sizes and their shares, about as in the training's fields."""
_MOST_MM2 = 3.0
_TUMOUR_FACTORS = (1.0, 200.0)
"""Tumour cells for each one of an ordinary slide, drawn evenly on a logarithmic scale: how ill a patient is, is no
property of the laboratory."""


def draw_known(index: int, cells: int) -> tuple[FieldSpec, int]:
    """Draw the laboratory of slide `index`, and the seed of its pixels.

    Parameters
    ----------
    index : int
    cells : int
        Nucleated cells on it, about; fewer where they are sparse.
    """
    rng = np.random.default_rng([_SEED, index])
    mpp_um = float(rng.choice(_MPP_UM[0], p=_MPP_UM[1]))
    spec = unusual(rng, draw_spec(rng, stain=STAINS[index % len(STAINS)], mpp_um=mpp_um, enriched=False))
    area_mm2 = min(cells / (COVERED * spec.density_per_mm2), _MOST_MM2)
    side = round(1000 * np.sqrt(area_mm2) / mpp_um)
    spec = replace(spec, size_px=(side, side))
    low, high = np.log(_TUMOUR_FACTORS)
    tumour = draw_tumour(rng, spec, float(np.exp(rng.uniform(low, high))))
    others = without_tumour(draw_counts(rng, spec, enriched=False))
    return replace(spec, counts=tumour + others), int(rng.integers(0, 2**62))


def score_known(results: Path, *, slides: int, cells: int = 1200, model: str = "") -> Reference:
    """Draw and score the slides that are still missing in a results folder; measure all of them.

    Parameters
    ----------
    results : Path
    slides : int
        A folder of fewer slides is the beginning of one of more.
    cells : int
        As `draw_known`.
    model : str
        Weights, as `--model`.
    """
    info = resolve(model)
    weights = Weights(info.name, info.sha256)
    config = ScoreConfig(out=results, model=model, device="cpu")
    started = now_utc()
    with ResultsFolder(results) as folder, tempfile.TemporaryDirectory() as beside:
        for index in range(slides):
            name = f"known_{index:04d}"
            if name in folder.records or name in folder.failures:
                continue
            spec, seed = draw_known(index, cells)
            path = Path(beside) / f"{name}.ome.tif"
            write_slide(path, spec, seed)
            job = SlideJob(name=name, files=(path,))
            start = time.monotonic()
            try:
                score = score_slide(job, config)
            except SlideError as error:
                folder.note_failure(failed_slide(job, error.problem))
            else:
                key, seconds = resume_key(job, weights), time.monotonic() - start
                record = make_record(job, score, key=key, weights=weights, program=__version__, seconds=seconds)
                folder.write_slide(job, score, record)
            for left in Path(beside).iterdir():
                left.unlink()
        ended = now_utc()
        run = RunInfo(__version__, {"name": info.name, "sha256": info.sha256}, "cpu", {}, started, ended)
        folder.write_summaries(run, last=True)
        records = [record for record in folder.records.values() if record.weights == weights]
    return Reference(info.name, info.sha256, tuple(measure_folder(results, records)))


def main(arguments: list[str] | None = None) -> None:
    """Score known slides; see the module's text for the call."""
    parser = argparse.ArgumentParser(description="Score slides of laboratories as the training draws them.")
    parser.add_argument("results", type=Path)
    parser.add_argument("out", type=Path, help="NAME.known.json, to lie beside NAME.safetensors")
    parser.add_argument("--slides", type=int, default=240)
    parser.add_argument("--cells", type=int, default=1200)
    parser.add_argument("--model", default="")
    options = parser.parse_args(arguments)
    known = score_known(options.results, slides=options.slides, cells=options.cells, model=options.model)
    write_file(options.out, to_json(known))


if __name__ == "__main__":
    main()
