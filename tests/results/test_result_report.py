"""The report: whole, self-contained, and nothing in it runs."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from fake_scoring import WEIGHTS, candidate, slide_score

from dtcseg.config import SlideJob
from dtcseg.results import report
from dtcseg.results.folder import ResultsFolder, RunInfo
from dtcseg.results.record import FailedSlide, make_record

INFO = RunInfo("0.1.0", {"name": "w", "sha256": "ab" * 32}, "cpu", {}, "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z")
EVIL = '<script>alert("1")</script>\x1b[31m'


class Page(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.feed(html)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def make(tmp_path):
    def page(slides, failures=(), info=INFO):
        with ResultsFolder(tmp_path / "out") as folder:
            for name, changes, score, crops in slides:
                path = tmp_path / f"{name}.tif"
                path.touch()
                job = replace(SlideJob(name=name, files=(path,)), **changes)
                record = make_record(job, score, key="k", weights=WEIGHTS, program="0.1.0", seconds=1)
                folder.write_slide(job, score, record, crops)
            for failure in failures:
                folder.note_failure(failure)
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
        "cell 1, score 0.9000",
        "pale",
    ):
        assert words in page.text, words
    assert ("src", "data:image/png;base64,cG5n") in page.attributes


def test_nothing_runs_and_nothing_is_asked_for(make):
    job = {"patient": EVIL, "timepoint": EVIL}
    page = make(
        [("<script>x", job, slide_score([candidate()], qc=(EVIL,)), [b"1"])], [FailedSlide("z", EVIL, EVIL, EVIL, EVIL)]
    )
    assert not {"script", "link", "iframe", "object", "form"} & set(page.tags)
    assert not [value for name, value in page.attributes if name.startswith("on") or "://" in (value or "")]
    assert all(value.startswith("data:") for name, value in page.attributes if name in {"src", "href"})
    assert any("default-src 'none'" in (value or "") for _, value in page.attributes)
    assert page.text.count('<script>alert("1")</script>') == 9
    assert "\x1b" not in page.text


def test_empty_run(make):
    page = make([], info=replace(INFO, ended=""))
    assert "run not finished" in page.text
    assert "sha256 " + "ab" * 32 in page.text


def test_crops_are_bounded(make, monkeypatch):
    monkeypatch.setattr(report, "MOST_CROPS", 5)
    monkeypatch.setattr(report, "TOP_CANDIDATES", 4)
    cells = [candidate(x_px=float(n)) for n in range(10)]
    page = make([(name, {}, slide_score(cells), [b"png"] * 10) for name in "abc"])
    assert page.tags.count("img") == 5
    assert "10 candidates" in page.text


def test_intervals_share_one_axis(make):
    page = make(
        [
            ("a", {}, slide_score([candidate(x_px=float(n)) for n in range(20)], mnc=1_000_000), ()),
            ("b", {}, slide_score(mnc=1_000_000), ()),
        ]
    )
    widths = [value for name, value in page.attributes if name == "style"]
    assert len(widths) == 3  # two bars, one mark: nothing found has none
    for value in re.findall(r"([\d.]+)%", " ".join(widths)):
        assert 0 <= float(value) <= 100
