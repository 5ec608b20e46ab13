"""What a candidate's size says against a tumour cell."""

import numpy as np
import pytest

from dtcseg.giants import giant_odds


def part(diameter_um, ck_od=0.5, ck_over_nucleus=0.5):
    return float(giant_odds(*(np.array([float(v)]) for v in (diameter_um, ck_od, ck_over_nucleus)))[0])


@pytest.mark.parametrize("ck_od", [0.05, 1.5])
def test_cells_of_ordinary_size_keep_their_odds(ck_od):
    assert part(13, ck_od, 0.0) == part(24, ck_od, 0.0) == 1


def test_a_weakly_stained_giant_with_a_free_nucleus_loses_most_of_them():
    assert part(44, 0.2, 0.1) < 0.03


def test_a_giant_with_strong_stain_over_the_nucleus_keeps_them():
    assert part(32, 1.2, 0.9) > 0.6


def test_they_fall_with_size_without_a_step():
    parts = np.array([part(d) for d in np.arange(20, 60, 0.1)])
    assert (np.diff(parts) <= 0).all()
    assert np.diff(parts).min() > -0.03


def test_they_rise_with_stain_and_with_its_share_of_the_nucleus():
    assert part(35, 0.2) < part(35, 0.4) < part(35, 0.8)
    assert part(35, 0.4, 0.1) < part(35, 0.4, 0.5) < part(35, 0.4, 0.9) <= 1
