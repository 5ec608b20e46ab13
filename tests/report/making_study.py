"""What the tests of the report share: slides of made-up counts, written without a picture."""

from dataclasses import replace

from fake_scoring import WEIGHTS, candidate, slide_score

from dtcseg.config import SlideJob
from dtcseg.report.study import make_study
from dtcseg.results.folder import ResultsFolder, RunInfo
from dtcseg.results.record import make_record

INFO = RunInfo("0.1.0", {"name": "w", "sha256": "ab" * 32}, "cpu", {}, "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z")


class Cohort:
    """A results folder that is filled slide by slide."""

    def __init__(self, tmp_path):
        self.root = tmp_path / "out"
        self.slides = tmp_path / "slides"
        self.slides.mkdir()
        self.records = []

    def slide(self, patient="P1", timepoint="", tumours=0, *, role="sample", mnc=2_000_000, expected=None, **score):
        name = f"s{len(self.records)}"
        path = self.slides / f"{name}.tif"
        path.write_bytes(name.encode())
        job = SlideJob(name, (path,), patient=patient, timepoint=timepoint, role=role, expected=expected)
        cells = [candidate(x_px=100.0 * n + 100) for n in range(tumours)]
        score = slide_score(cells, **{"mnc": mnc, "mnc_low": float(mnc), "mnc_high": float(mnc)} | score)
        record = make_record(job, score, key=name, weights=WEIGHTS, program="0.1.0", seconds=1)
        with ResultsFolder(self.root) as folder:
            folder.write_slide(job, score, record)
            folder.write_summaries(replace(INFO))
        self.records.append(record)
        return self.root / name

    def sheet(self, name, text):
        self.root.mkdir(exist_ok=True)
        (self.root / name).write_text(text, "utf-8")

    def study(self, **options):
        return make_study(self.root, self.records, **options)
