"""Real images as slides and as lessons."""

import numpy as np
import pytest
from dtcseg_training.real import SOURCES, TRAINABLE, real_fields
from dtcseg_training.real_lessons import real_lesson

pytestmark = pytest.mark.realdata


@pytest.mark.parametrize("source", SOURCES)
def test_every_set_is_read(shared_data, source):
    fields = [field for _, field in zip(range(6), real_fields(shared_data, source), strict=False)]
    assert fields
    for field in fields:
        level = field.slide.levels[0]
        assert 0.1 <= field.slide.resolution.mpp_um <= 1.1
        if field.centres is not None:
            assert (field.centres >= 0).all()
            assert (field.centres <= (level.width_px, level.height_px)).all()
        assert field.held_out or source in TRAINABLE


def test_images_kept_back_stay_the_same_third(shared_data):
    fields = list(real_fields(shared_data, "marrow_cells_brightfield"))
    assert len(fields) == 19
    assert sum(field.held_out for field in fields) == 7
    assert {f.name for f in real_fields(shared_data, "cytospin_dapi") if f.held_out} == {
        f"Neuroblastoma_{i}" for i in (2, 6, 15)
    }


def test_a_real_lesson_has_its_nuclei_under_their_centres(shared_data):
    lesson = real_lesson(shared_data, 7, 6)
    again = real_lesson(shared_data, 7, 6)
    np.testing.assert_array_equal(lesson.planes, again.planes)
    nuclear = lesson.planes[0].astype(np.float32)
    x, y = np.clip(np.round(lesson.nuclei).astype(int), 0, 263).T
    assert len(x) > 50
    assert np.median(nuclear[y, x]) > np.median(nuclear) + 0.2
    assert not len(lesson.tumour)
    assert not len(lesson.other)
