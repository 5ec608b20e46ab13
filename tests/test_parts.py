"""A slide that is scored in parts gives what it gives in one piece."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import dtcseg.parts
from dtcseg.cells import SlideScore
from dtcseg.config import ScoreConfig, SlideJob
from dtcseg.errors import UnreadableSlide
from dtcseg.isolation import HandedOn, Step
from dtcseg.parts import take_step
from dtcseg.score import score_slide

SAMPLES = Path(__file__).parents[1] / "data_samples"
JOB = SlideJob(name="s", files=(SAMPLES / "P02_baseline_fast_red.ome.tif",))


def silent(share):
    pass


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Tiles so small that a sample slide has several parts."""
    return ScoreConfig(out=tmp_path_factory.mktemp("out"), device="cpu", tile_px=256)


@pytest.fixture(scope="module")
def begun(config):
    handed = take_step(JOB, config, silent, Step("begin"))
    assert isinstance(handed, HandedOn)
    assert handed.parts >= 3
    return handed


def looked_at(config, begun, on_progress=silent):
    return [
        take_step(JOB, config, on_progress, Step("look", part), [begun.content]).content
        for part in reversed(range(begun.parts))
    ]


@pytest.fixture(scope="module")
def parts(config, begun):
    return looked_at(config, begun)


@pytest.fixture(scope="module")
def whole(config):
    return score_slide(JOB, config)


def assert_equal(one, other):
    assert replace(one, nuclei_px=None, crops=()) == replace(other, nuclei_px=None, crops=())
    np.testing.assert_array_equal(one.nuclei_px, other.nuclei_px)
    for here, there in zip(one.candidates, other.candidates, strict=True):
        np.testing.assert_array_equal(here.outline_px, there.outline_px)
    assert len(one.crops) == len(other.crops)


def test_parts_in_any_order_are_the_slide(config, begun, parts, whole):
    score = take_step(JOB, config, silent, Step("finish"), [begun.content, *parts])
    assert len(whole.candidates) > 10
    assert_equal(score, whole)


def test_a_part_left_out_would_be_seen(config, begun, parts, whole):
    score = take_step(JOB, config, silent, Step("finish"), [begun.content, *parts[: begun.parts // 2]])
    assert score.mnc < 0.9 * whole.mnc


def test_it_is_said_how_far_each_step_is(config, begun, parts):
    told = []
    looked_at(config, begun, told.append)
    assert told.count(1.0) == begun.parts
    told.clear()
    take_step(JOB, config, told.append, Step("begin"))
    assert told == [0.05]
    take_step(JOB, config, told.append, Step("finish"), [begun.content, *parts])
    assert told[-1] == 1.0
    assert min(told[1:]) >= 0.85


@pytest.mark.parametrize("change", [{"tile_px": 1152}, {"count": "sampled"}])
def test_what_is_not_worth_cutting_is_scored_at_once(config, change):
    assert isinstance(take_step(JOB, replace(config, **change), silent, Step("begin")), SlideScore)


def test_machines_that_see_otherwise_are_named(config, begun, parts, whole, monkeypatch):
    monkeypatch.setattr(dtcseg.parts, "_how", lambda engine: ("cuda", "float32"))
    score = take_step(JOB, config, silent, Step("finish"), [begun.content, *parts])
    assert score.details["device"] == "cpu, cuda"
    assert score.details["precision"] == ", ".join(sorted({whole.details["precision"], "float32"}))


def test_a_slide_that_went_away_in_between(config, begun, tmp_path):
    gone = replace(JOB, files=(tmp_path / "gone.tif",))
    with pytest.raises(UnreadableSlide):
        take_step(gone, config, silent, Step("look"), [begun.content])
