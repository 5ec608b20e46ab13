"""What the tests of learning share: small slides with pixels, results over them made from the truth, and readers."""

from dataclasses import replace

import numpy as np
from dtcseg_training.simulate import draw_spec, read_truth, write_slide
from fake_results import INFO
from fake_scoring import WEIGHTS, slide_score

from dtcseg.cells import Candidate
from dtcseg.config import SlideJob
from dtcseg.results.folder import ResultsFolder
from dtcseg.results.record import from_json, make_record, resume_key
from dtcseg.stain.brightfield import CHROMOGENS, HEMATOXYLIN, BrightfieldProfile
from dtcseg.verdicts import open_log, read_candidates

SIDE_PX = 640
_COUNTS = (("tumour_single", 3), ("hc_even", 2), ("precipitate", 1), ("apoptotic", 1))


def make_results(root, names=("a", "b", "c"), patients=None, control=""):
    """Draw slides and write results whose candidates are the true objects; the results folder.

    The slide `control` is a negative control.
    """
    slides = root / "slides"
    slides.mkdir(exist_ok=True)
    with ResultsFolder(root / "out") as folder:
        for number, name in enumerate(names):
            path = slides / f"{name}.ome.tif"
            rng = np.random.default_rng(number)
            spec = draw_spec(rng, stain="new_fuchsin", mpp_um=0.5, size_px=(SIDE_PX, SIDE_PX), enriched=False)
            truth = write_slide(path, replace(spec, density_per_mm2=800.0, counts=_COUNTS), number, spots=False)
            patient = patients[number] if patients else f"patient {name}"
            role = "negative_control" if name == control else "sample"
            job = SlideJob(name=name, files=(path,), patient=patient, role=role)
            profile = BrightfieldProfile(
                "new_fuchsin", "image", (240.0, 240.0, 240.0), HEMATOXYLIN, CHROMOGENS["new_fuchsin"], 0.6, False
            )
            score = slide_score(
                [_candidate(cell, i) for i, cell in enumerate(truth.cells)],
                mnc=2000,
                width_px=SIDE_PX,
                height_px=SIDE_PX,
                details={"profile": profile.to_json()},
            )
            key = resume_key(job, WEIGHTS)
            folder.write_slide(
                job, score, make_record(job, score, key=key, weights=WEIGHTS, program="0.1.0", seconds=1.0)
            )
        folder.write_summaries(INFO, last=True)
    return root / "out"


def _candidate(cell, i):
    return Candidate(
        x_px=round(cell.x_px, 2),
        y_px=round(cell.y_px, 2),
        score=round(0.9 - 0.01 * i, 4),
        call="tumour",
        outline_px=np.asarray(cell.outline, float),
        diameter_um=cell.diameter_um,
        area_um2=200.0,
        nucleus_area_um2=80.0,
        ck_od=0.4,
        ck_over_nucleus=0.5,
        neighbours=3,
        cluster_id=0,
    )


def read_all(results, reader="Anna", lie=lambda word: word):
    """Give every candidate its true call, but for those of control slides."""
    for folder in sorted(path.parent for path in results.glob("*/slide.json")):
        if from_json((folder / "slide.json").read_text()).role != "sample":
            continue
        truth = read_truth(results.parent / "slides" / f"{folder.name}.ome.tif")
        calls = {(round(cell.x_px, 2), round(cell.y_px, 2)): cell.call for cell in truth.cells}
        with open_log(folder, reader) as log:
            for cell in read_candidates(folder):
                log.give(cell, lie(calls[cell.x_px, cell.y_px]))
