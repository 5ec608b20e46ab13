"""A batch against what weights know: home batches are quiet, shifted ones are named with what is unlike."""

import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from fake_scoring import candidate, slide_score
from typer.testing import CliRunner

from dtcseg.cli import app
from dtcseg.config import SlideJob
from dtcseg.drift.folder import by_day, drift_lines, drift_of
from dtcseg.drift.judge import Scale, judge_batch
from dtcseg.drift.measures import MEASURES, Measured, measure, shown
from dtcseg.drift.picture import drift_svg, standalone_svg
from dtcseg.drift.reference import (
    Reference,
    added_slides,
    read_reference,
    reference_of,
    to_json,
)
from dtcseg.errors import UsageError
from dtcseg.network.weights import resolve
from dtcseg.results.folder import ResultsFolder, RunInfo, read_records
from dtcseg.results.record import Weights, make_record
from dtcseg.stain.brightfield import CHROMOGENS, HEMATOXYLIN

CELLS = [{"score": "0.8", "ck_od": "0.5", "call": "tumour"}] * 3 + [
    {"score": "0.3", "ck_od": "0.2", "call": "artefact"}
]


def details(hematoxylin=HEMATOXYLIN, chromogen=CHROMOGENS["new_fuchsin"], sharpness=1.1, **changes):
    profile = {
        "kind": "brightfield",
        "white": [236.0, 236.0, 236.0],
        "hematoxylin": list(hematoxylin),
        "chromogen": list(chromogen),
        "nuclear_scale": 1.0,
        "chromogen_estimated": True,
        "ck_background": 0.02,
        "ck_spread": 0.06,
    }
    return {"profile": {**profile, **changes}, "focus": {"sharpness": sharpness, "sharpness_low": 0.9, "noise": 0.01}}


def record(name="a", mnc=10_000, weights=None, **changes):
    score = slide_score([candidate()], mnc=mnc, area_mm2=5.0, details=details(**changes))
    job = SlideJob(name=name, files=(), stain="new_fuchsin")
    known = weights or Weights("w", "1" * 64)
    return replace(make_record(job, score, key="k", weights=known, program="0", seconds=1.0), stain="new_fuchsin")


def test_measures_have_the_values_they_are_named_for():
    found = measure(record(nuclear_scale=0.5), CELLS).values
    assert set(found) == set(MEASURES)
    assert found["nuclear_od"] == pytest.approx(1.2)
    assert found["density_log10"] == pytest.approx(np.log10(2000), abs=1e-4)
    assert found["candidates_log10"] == pytest.approx(np.log10(450), abs=1e-4)
    for name in ("hematoxylin_along_deg", "hematoxylin_across_deg", "chromogen_along_deg", "chromogen_across_deg"):
        assert found[name] == pytest.approx(0, abs=1e-3)


def test_measures_are_written_for_a_person():
    assert shown("noise_log10", -2.0) == "0.01"
    assert shown("candidates_log10", np.log10(31_623)) == "31 623"
    assert shown("density_log10", np.log10(812)) == "812"
    assert shown("sharpness", 0.81234) == "0.812"
    noisy = {"focus": {"sharpness": 1.0, "sharpness_low": 0.9, "noise": 0.0}}
    assert measure(replace(record(), details=noisy), []).values["noise_log10"] == -4


def test_turned_stains_are_told_in_degrees():
    unit = np.array(HEMATOXYLIN) / np.linalg.norm(HEMATOXYLIN)
    red = np.array(CHROMOGENS["aec"]) / np.linalg.norm(CHROMOGENS["aec"])
    along = red - (red @ unit) * unit
    along /= np.linalg.norm(along)
    turned = np.cos(np.radians(7)) * unit + np.sin(np.radians(7)) * along
    found = measure(record(hematoxylin=turned.tolist()), []).values
    assert found["hematoxylin_along_deg"] == pytest.approx(7, abs=1e-3)
    assert found["hematoxylin_across_deg"] == pytest.approx(0, abs=1e-3)


def test_what_was_not_measured_is_left_out():
    bare = replace(record(), details={})
    assert set(measure(bare, CELLS).values) == {"density_log10", "candidates_log10", "doubtful_log10"}
    assert not {"density_log10", "candidates_log10"} & set(measure(record(mnc=100), CELLS).values)
    assert "chromogen_along_deg" not in measure(record(chromogen_estimated=False), CELLS).values
    assert measure(replace(record(), details={"profile": {"kind": 3}, "focus": "x"}), [{"score": "?"}]).values == {}


def laboratory(rng, slides, shift=0.0):
    """Slides of one laboratory: its own place among all, each slide a little beside it."""
    place = rng.normal(size=len(MEASURES))
    place[list(MEASURES).index("sharpness")] += shift
    values = [place + 0.2 * rng.normal(size=len(MEASURES)) for _ in range(slides)]
    return [
        Measured(f"s{k}", "brightfield", dict(zip(MEASURES, v.tolist(), strict=True))) for k, v in enumerate(values)
    ]


@pytest.fixture(scope="module")
def known():
    rng = np.random.default_rng(5)
    return Reference("w", "1" * 64, tuple(laboratory(rng, 1)[0] for _ in range(200)))


def test_batches_of_laboratories_like_the_training_seldom_alarm(known):
    rng = np.random.default_rng(6)
    drifts = [judge_batch(laboratory(rng, 10), known) for _ in range(300)]
    alarms = {group: sum(group in drift.alarms for drift in drifts) for group in ("stain", "focus", "scores")}
    assert max(alarms.values()) <= 9, "at most 1 % of each, 2 % in the worst case: more than 9 of 300 has p < 0.002"
    assert len({drift.slides[0].slide.values["noise_log10"] for drift in drifts}) == 300


def test_a_batch_of_mixed_laboratories_is_quiet_too(known):
    rng = np.random.default_rng(7)
    assert not any(judge_batch([laboratory(rng, 1)[0] for _ in range(10)], known).alarms for _ in range(50))


def test_a_shifted_batch_alarms_and_says_what_is_unlike(known):
    drift = judge_batch(laboratory(np.random.default_rng(8), 10, shift=-8.0), known)
    assert drift.alarms == ("focus",)
    assert "sharpness of nuclei" in drift.text
    assert "usually" in drift.text
    assert len(drift.single) == 10


def test_one_strange_slide_is_named_and_the_batch_is_quiet(known):
    rng = np.random.default_rng(9)
    drift = judge_batch([*laboratory(rng, 9), *laboratory(rng, 1, shift=-9.0)], known)
    assert "focus" not in drift.alarms
    assert drift.slides[-1] in drift.single


def test_less_chromogen_than_usual_is_not_strange(known):
    usual = dict.fromkeys(MEASURES, 0.0)
    low = Measured("low", "brightfield", {**usual, "doubtful_log10": -50.0, "ck_spread": -50.0})
    high = Measured("high", "brightfield", {**usual, "doubtful_log10": 50.0})
    assert judge_batch([low], known).alarms == ()
    assert judge_batch([high], known).alarms == ("scores",)


def test_another_kind_of_slide_is_not_compared(known):
    strange = Measured("x", "fluorescence", dict.fromkeys(MEASURES, 50.0))
    assert judge_batch([strange], known).alarms == ()


def test_a_reference_comes_back_as_it_was_written(known, tmp_path):
    path = tmp_path / "w.known.json"
    path.write_bytes(to_json(known))
    assert read_reference(path) == known
    assert to_json(read_reference(path)) == to_json(known)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format": "x", "version": 1}', b"[" * 100_000])
def test_what_is_no_reference_is_refused(tmp_path, content):
    path = tmp_path / "w.known.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="does not say what weights know"):
        read_reference(path)


def test_weights_learned_from_reviews_know_what_they_began_with_and_more(tmp_path, monkeypatch):
    import torch

    from dtcseg import registry
    from dtcseg.network.model import Look, Screen
    from dtcseg.network.weights import ARCHITECTURE, Card, save

    own = tmp_path / "own"
    monkeypatch.setenv("DTCSEG_WEIGHTS", str(own))
    parent = resolve()
    released = reference_of(parent.sha256)
    assert released is not None
    torch.manual_seed(1)
    file = tmp_path / "ours.safetensors"
    sha256 = save(file, Screen(), Look(), Card("ours", ARCHITECTURE, 0.4, 0.2, 0.5, 1, 0.01, parent=parent.sha256))
    root = results(tmp_path / "out", ["a", "b"], Weights(parent.name, parent.sha256), sharpness=0.2)
    learned = added_slides(parent, [(root, one) for one in read_records(root).values()])
    (tmp_path / "ours.known.json").write_bytes(learned)
    registry.use(str(file))
    ours = reference_of(sha256)
    assert len(ours.slides) == len(released.slides) + 2
    assert drift_of(root, read_records(root).values()).alarms == ("focus",)
    again = results(tmp_path / "again", ["a", "b"], Weights("ours", sha256), sharpness=0.2)
    assert drift_of(again, read_records(again).values()).alarms == (), "it has learned from slides like these"
    assert reference_of("9" * 64) is None


def test_the_released_weights_know_enough_slides_to_tell_one_in_a_hundred():
    known = reference_of(resolve().sha256)
    assert len(known.slides) >= 99
    for kind in ("brightfield", "fluorescence"):
        assert sum(slide.kind == kind for slide in known.slides) >= 20
    compared = Scale(known.slides)
    assert all(compared.limits("brightfield", name) for name in MEASURES)
    alone = [judge_batch([slide], known).alarms for slide in known.slides]
    assert sum(map(bool, alone)) <= 0.05 * len(alone)


def results(root, names, weights, **changes):
    for name in names:
        with ResultsFolder(root) as folder:
            one = record(name, weights=weights, **changes)
            job = SlideJob(name=name, files=())
            score = slide_score([candidate()], mnc=10_000, area_mm2=5.0)
            folder.write_slide(job, score, one)
            info = RunInfo("0", {"name": weights.name, "sha256": weights.sha256}, "cpu", {}, "2026-01-01T00:00:00Z")
            folder.write_summaries(info, last=True)
    return root


def test_the_report_and_the_command_tell_a_drift_with_a_picture(tmp_path):
    released = resolve()
    weights = Weights(released.name, released.sha256)
    root = results(tmp_path / "out", ["a", "<b>"], weights, sharpness=0.2)
    page = (root / "report.html").read_text()
    assert re.search(r"2 slides unlike what .* knows: .*focus and noise", page)
    assert "<svg" in page
    assert "<b></title>" not in page
    picture = tmp_path / "drift.svg"
    result = CliRunner().invoke(app, ["drift", str(root), "--out", str(picture)])
    assert "all: 2 slides unlike" in result.output
    assert result.exit_code == 0
    ElementTree.fromstring(picture.read_bytes())
    quiet = results(tmp_path / "quiet", ["a", "b"], weights)
    assert "2 slides: like what" in (quiet / "report.html").read_text()


def test_unknown_weights_are_not_judged(tmp_path):
    root = results(tmp_path / "out", ["a"], Weights("gone", "1" * 64))
    assert drift_of(root, read_records(root).values()) is None
    assert "What the weights know" not in (root / "report.html").read_text()
    with pytest.raises(UsageError, match="does not stand beside them here"):
        drift_lines(root)
    with pytest.raises(UsageError, match="holds no slide"):
        drift_lines(tmp_path)


def test_days_are_told_apart():
    first, second = (replace(record(), finished=f"2026-01-0{day}T10:00:00Z") for day in (1, 2))
    assert by_day([second, first]) == {"2026-01-01": [first], "2026-01-02": [second]}


def test_the_picture_holds_no_markup_of_others(known):
    slide = laboratory(np.random.default_rng(1), 1)[0]
    evil = Measured('"><script>alert(1)</script>', slide.kind, {**slide.values, "sharpness": -99.0})
    drift = judge_batch([evil], replace(known, weights="<i>"))
    assert "<script" not in drift_svg(drift)
    assert "<i>" not in drift_svg(drift)
    root = ElementTree.fromstring(standalone_svg(drift))
    assert root.tag.endswith("svg")
    assert json.dumps(drift.text)
