"""Real images as slides and as lessons."""

from dataclasses import replace

import numpy as np
import pytest
from dtcseg_training.mine import mine_real_lesson
from dtcseg_training.real import SOURCES, TRAINABLE, real_fields
from dtcseg_training.real_lessons import real_lesson
from scipy.ndimage import maximum_filter

from dtcseg.network.model import LOOK_CLASSES
from dtcseg.network.weights import load, resolve, save

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
    lessons = [real_lesson(7, index, shared_data) for index in range(12)]
    np.testing.assert_array_equal(real_lesson(7, 6, shared_data).planes, lessons[6].planes)
    assert sum(len(lesson.nuclei) for lesson in lessons) > 400
    stronger = []
    for lesson in lessons:
        nuclear = lesson.planes[0].astype(np.float32)
        x, y = np.clip(np.round(lesson.nuclei).astype(int), 0, 263).T
        assert (nuclear < np.median(nuclear[y, x])).mean() > 0.9, "half of it where they do not lie there"
        stronger.append(np.median(nuclear[y, x]) - np.median(nuclear))
    assert np.median(stronger) > 0.15
    for name in ("tumour", "other"):
        strongest = []
        for lesson in lessons:
            ck = maximum_filter(lesson.planes[1].astype(np.float32), 9)
            x, y = np.clip(np.round(getattr(lesson, name)).astype(int), 0, 263).T
            strongest.extend(ck[y, x] - np.median(ck))
        assert len(strongest) > 10
        assert np.median(strongest) > 0.2
    calls = np.concatenate([lesson.calls for lesson in lessons])
    assert set(calls) == set(range(len(LOOK_CLASSES)))


def test_nothing_mined_on_real_images_is_a_tumour_cell(shared_data, tmp_path):
    released = resolve("")
    eager = tmp_path / "eager.safetensors"  # good weights propose next to nothing on real images
    save(eager, *load(released), replace(released.card, candidate_threshold=0.002))
    lessons = [mine_real_lesson(6, index, str(eager), shared_data) for index in range(40)]
    calls = np.concatenate([lesson.calls for lesson in lessons])
    assert len(calls)
    assert set(calls) <= {LOOK_CLASSES.index("haematopoietic"), LOOK_CLASSES.index("artefact")}
    assert any(lesson.masks.any() for lesson in lessons)
