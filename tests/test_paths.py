"""The fast ways of scoring against the plain one, on one sample slide (`benchmarks/paths.py` takes many)."""

from pathlib import Path

import fake_scoring
import pytest
from benchmark_files import load_benchmark

from dtcseg.network.cpu import FusedConvolution
from dtcseg.network.weights import resolve

SAMPLE = Path(__file__).parents[1] / "data_samples" / "P02_baseline_fast_red.ome.tif"


@pytest.fixture(scope="module")
def paths():
    return load_benchmark("paths")


@pytest.mark.slow
def test_the_same_calls_and_nearly_the_same_scores(paths):
    found = paths.compare([SAMPLE], resolve(""))
    assert {"CPU", "CPU, --count sampled"} <= set(found)
    for one in found.values():
        assert one.candidates > 10
        assert one.same_calls
        assert one.score <= paths.TOLERANCE
        assert one.most_nuclei <= 0.001 * one.nuclei[0]


def test_the_plain_way_is_plain(paths):
    engine = paths.plain_engine(resolve(""))
    assert not any(isinstance(part, FusedConvolution) for part in engine._screen.modules())
    assert any("BatchNorm" in type(part).__name__ for part in engine._looks[0][0].modules())


def test_differences_are_found(paths):
    one = fake_scoring.slide_score((fake_scoring.candidate(score=0.9), fake_scoring.candidate(x_px=900.0, score=0.6)))
    other = fake_scoring.slide_score((fake_scoring.candidate(score=0.8, call="artefact"),), mnc=499_990)
    found = paths.Difference()
    found.add(one, other)
    assert (found.other_calls, found.only_in_one, found.most_nuclei) == (1, 1, 10)
    assert found.score == pytest.approx(0.1)
    assert not found.same_calls
