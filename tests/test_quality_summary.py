"""The few numbers of sharpness, noise and staining that a slide's record keeps."""

import numpy as np
import pytest

from dtcseg.quality import BlockStats, Code, summary


def stats(curvature, noise=0.01, trace=0.1):
    """One row of blocks of unit gradient, whose sharpness is their curvature."""
    curvature = np.asarray(curvature, np.float32)
    one = np.ones_like(curvature)
    columns = [one, curvature, 2 * one, noise * one, 0.5 * one, 0.4 * one, 0.3 * one, trace * one, *[one] * 4]
    return BlockStats(np.stack(columns, axis=-1)[None].astype(np.float32))


def codes(count, code=Code.SCREENED):
    return np.full((1, count), code, np.uint8)


def test_median_and_worst_tenth_of_the_screened_blocks():
    found = summary(stats(np.linspace(0.7, 1.7, 11)), codes(11))
    assert found == {
        "sharpness": pytest.approx(1.2),
        "sharpness_low": pytest.approx(0.8),
        "noise": pytest.approx(0.01),
        "staining": pytest.approx(0.4),
    }


def test_what_was_not_screened_or_holds_no_nuclei_does_not_count():
    sharp = stats([1.0] * 5 + [9.0] * 5)
    mixed = np.concatenate([codes(5), codes(5, Code.BLURRED)], axis=1)
    assert summary(sharp, mixed)["sharpness"] == pytest.approx(1.0)
    assert summary(stats([1.0] * 10, trace=0.0), codes(10)) == {}
    assert summary(stats([1.0] * 3), codes(3)) == {}
    assert summary(BlockStats.empty(1, 9), codes(9)) == {}
