"""The page: whole, self-contained, and nothing of a slide's or a patient's name runs in it."""

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from fake_scoring import WEIGHTS, candidate, slide_score
from PIL import Image

from dtcseg.config import SlideJob
from dtcseg.report import gallery
from dtcseg.results.folder import ResultsFolder, RunInfo
from dtcseg.results.record import FailedSlide, make_record

INFO = RunInfo("0.1.0", {"name": "w", "sha256": "ab" * 32}, "cpu", {}, "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z")
EVIL = '<script>alert("1")</script>\x1b[31m'


class Page(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.html, self.tags, self.attributes, self.words, self.scripts = html, [], [], [], []
        self._script = None
        self.feed(html)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "script":
            self._script = dict(attrs)

    def handle_data(self, data):
        if self._script is None:
            self.words.append(data)
        else:
            self.scripts.append((self._script, data))

    def handle_endtag(self, tag):
        if tag == "script":
            self._script = None

    def block(self, name):
        return next(json.loads(text) for attributes, text in self.scripts if attributes.get("id") == name)


@pytest.fixture
def make(tmp_path):
    def page(slides, failures=(), info=INFO, sheets=None):
        with ResultsFolder(tmp_path / "out") as folder:
            for name, changes, score, crops in slides:
                path = tmp_path / f"{name}.tif"
                path.write_bytes(name.encode())
                job = replace(SlideJob(name=name, files=(path,)), **changes)
                record = make_record(job, score, key="k", weights=WEIGHTS, program="0.1.0", seconds=1)
                folder.write_slide(job, score, record, crops)
            for failure in failures:
                folder.note_failure(failure)
            for name, text in (sheets or {}).items():
                (tmp_path / "out" / name).write_text(text)
            folder.write_summaries(info, last=True)
        return Page((tmp_path / "out" / "report.html").read_text("utf-8"))

    return page


def test_says_what_was_found(make):
    page = make(
        [
            ("a", {"patient": "P1", "timepoint": "month 3"}, slide_score([candidate()], mnc=2_000_000), [b"png"]),
            ("b", {}, slide_score(mnc=2_000_000, qc=("pale",)), ()),
            ("c", {"role": "isotype_control"}, slide_score(mnc=0), ()),
        ],
        [FailedSlide("d", "d.svs", "cut off; copy it again")],
    )
    for words in (
        "Research use only.",
        "P1 month 3",
        "0.50 (0.01\N{EN DASH}2.79)",
        "DTC detected",
        "not detected",
        "< 1.50",
        "not assessable",
        "isotype control",
        "cut off; copy it again",
        "sha256 " + "f" * 64,
        "2026-01-01T00:00:00Z to 2026-01-01T01:00:00Z",
        "pale",
    ):
        assert words in page.text, words
    # pictures and evidence are drawn by the script when a patient is opened, so they stand in the patient's block
    cells = next(
        slide["cells"] for number in range(3) for slide in page.block(f"p{number}")["slides"] if slide["name"] == "a"
    )
    assert cells[0][:5] == ["1", "tumour", "tumour", 0, 0.9]
    assert cells[0][-1] == "data:image/png;base64,cG5n"


def test_only_its_own_script_runs_and_nothing_is_asked_for(make):
    job = {"patient": EVIL, "timepoint": EVIL}
    page = make(
        [("<script>x", job, slide_score([candidate()], qc=(EVIL,)), [b"1"])],
        [FailedSlide("z", EVIL, EVIL, EVIL, EVIL)],
        sheets={
            "assays.csv": f"patient,assay,value\n{EVIL},{EVIL},1\nother,x,1\n",
            "arms.csv": f"patient,arm\nx,{EVIL}\n",
        },
    )
    assert not {"link", "iframe", "object", "form", "base"} & set(page.tags)
    assert not [value for name, value in page.attributes if name.startswith("on") or "://" in (value or "")]
    assert all(value.startswith("data:") for name, value in page.attributes if name in {"src", "href"})
    policy = next(value for name, value in page.attributes if name == "content" and "default-src" in value)
    assert "default-src 'none'" in policy
    (code,) = [text for attributes, text in page.scripts if not attributes]
    assert f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    assert {attributes.get("type") for attributes, _ in page.scripts if attributes} == {"application/json"}
    assert "<script>alert" not in page.html.replace(code, "")
    assert '<script>alert("1")</script>' in page.text
    assert page.block("data")["patients"][0]["name"] == r'<script>alert("1")</script>\x1b[31m'
    assert "\x1b" not in page.html
    for never in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "new Function", "fetch("):
        assert never not in code, never


def test_empty_run(make):
    page = make([], info=replace(INFO, ended=""))
    assert "run not finished" in page.text
    assert "sha256 " + "ab" * 32 in page.text


def test_pictures_are_bounded_and_tumour_cells_have_them_first(make, monkeypatch):
    monkeypatch.setattr(gallery, "PICTURE_BYTES", 18)  # six of three bytes: those of the tumour cells
    monkeypatch.setattr(gallery, "TOP_CANDIDATES", 4)
    cells = [candidate(x_px=float(n), call="tumour" if n > 7 else "artefact") for n in range(10)]
    page = make([(name, {}, slide_score(cells), [b"png"] * 10) for name in "abc"])
    shown = [cell for n in range(3) for slide in page.block(f"p{n}")["slides"] for cell in slide["cells"]]
    assert len(shown) == 12
    assert {cell[1] for cell in shown if str(cell[-1]).startswith("data:")} == {"tumour"}
    assert sum(str(cell[-1]).startswith("data:") for cell in shown) == 6
    assert all(slide["candidates"] == 10 for n in range(3) for slide in page.block(f"p{n}")["slides"])


def test_pictures_become_smaller_before_a_tumour_cell_goes_without(make, monkeypatch):
    buffer = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, format="PNG")
    monkeypatch.setattr(gallery, "PICTURE_BYTES", 3 * len(buffer.getvalue()) - 1)
    page = make([(name, {}, slide_score([candidate()]), [buffer.getvalue()]) for name in "abc"])
    pictures = [page.block(f"p{n}")["slides"][0]["cells"][0][-1] for n in range(3)]
    assert [picture.partition(";")[0] for picture in pictures] == ["data:image/jpeg"] * 3


def test_long_tables_are_cut_in_words(make, monkeypatch):
    monkeypatch.setattr("dtcseg.report.page.MOST_PLAIN_ROWS", 2)
    page = make([(name, {}, slide_score(mnc=1_000_000), ()) for name in "abc"])
    assert "The first 2 of 3 patients. All are in patients.csv" in page.text
    assert "The first 2 of 3 slides. All are in slides.csv." in page.text
    assert len(page.block("data")["patients"]) == 3


def test_a_flood_of_tumour_calls_is_doubted_aloud(make):
    flood = slide_score([candidate()], mnc=900, qc=("many_tumour_calls:1_in_900_cells",))
    page = make([("a", {"patient": "P1"}, flood, ()), ("b", {"patient": "P2"}, slide_score([candidate()]), ())])
    assert "1 remark on the input" in page.text
    assert "slide a: 1 of 900 cells are called tumour, more than marrow nearly ever holds" in page.text
    assert "slide b: " not in page.text


def test_warnings_stand_in_the_page(make):
    page = make(
        [("a", {"patient": "P1"}, slide_score(), ())],
        sheets={"assays.csv": "patient,assay,value\nP9,ctDNA,1\n"},
    )
    assert "1 remark on the input" in page.text
    assert "assays.csv, row 2: patient 'P9' has no slide here; the row is left out" in page.text
