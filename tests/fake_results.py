"""Results of slides without pixels, for tests of what comes after scoring."""

from fake_scoring import WEIGHTS, candidate, slide_score

from dtcseg.config import SlideJob
from dtcseg.results.folder import ResultsFolder, RunInfo
from dtcseg.results.record import Weights, make_record, resume_key
from dtcseg.verdicts import read_candidates

INFO = RunInfo("0.1.0", {"name": "fake", "sha256": "f" * 64}, "cpu", {}, "2026-01-01T00:00:00Z")
OTHER_WEIGHTS = Weights("other", "0" * 64)


def write(root, job, scored, weights=WEIGHTS):
    """Write the results of a slide into `root`/out; gives RESULTS/<slide>."""
    key = resume_key(job, weights)
    record = make_record(job, scored, key=key, weights=weights, program="0.1.0", seconds=1.0)
    with ResultsFolder(root / "out") as folder:
        folder.write_slide(job, scored, record)
        folder.write_summaries(INFO, last=True)
    return root / "out" / job.name


def score(root, places=((100, 200), (300, 200), (500, 200)), weights=WEIGHTS, name="a"):
    """Score a slide with candidates at these places; its folder and its cells."""
    slides = root / "slides"
    slides.mkdir(exist_ok=True)
    path = slides / f"{name}.tif"
    path.write_bytes(b"pixels")
    job = SlideJob(name=name, files=(path,))
    scored = slide_score([candidate(x_px=float(x), y_px=float(y)) for x, y in places])
    return write(root, job, scored, weights), read_candidates(root / "out" / name)


def square(x_px, y_px, half_px=15.0):
    return [(x_px - half_px, y_px - half_px), (x_px + half_px, y_px - half_px), (x_px, y_px + half_px)]
