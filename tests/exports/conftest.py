"""A results folder made by the code that makes them, with slides whose cells are known."""

import pytest
from export_makers import Made, some_cells
from fake_scoring import WEIGHTS, slide_score

from dtcseg.config import SlideJob
from dtcseg.results.folder import ResultsFolder, RunInfo
from dtcseg.results.record import make_record, resume_key

INFO = RunInfo("0.1.0", {"name": "fake", "sha256": "f" * 64}, "cpu", {}, "2026-01-01T00:00:00Z")


@pytest.fixture
def make_results(tmp_path):
    """Write slides into a results folder; changes are those of `slide_score`, `files` says where the slides are."""

    def make(slides, files=None, patient="", **changes):
        root = tmp_path / "out"
        with ResultsFolder(root) as folder:
            for name, cells in slides.items():
                path = (files or {}).get(name)
                if path is None:
                    path = tmp_path / "slides" / f"{name}.tif"
                    path.parent.mkdir(exist_ok=True)
                    path.write_bytes(name.encode())
                job = SlideJob(name=name, files=(path,), patient=patient)
                score = slide_score(cells, **changes)
                record = make_record(
                    job, score, key=resume_key(job, WEIGHTS), weights=WEIGHTS, program="0.1.0", seconds=1.0
                )
                folder.write_slide(job, score, record)
            folder.write_summaries(INFO, last=True)
        return Made(root, dict(slides))

    return make


@pytest.fixture
def results(make_results):
    return make_results({"a": some_cells(23, 1), "b": some_cells(9, 2), "empty": []})
