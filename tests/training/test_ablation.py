"""Tests of what leaves parts of the training out."""

import numpy as np
import torch
from dtcseg_training.ablation import _PLAN, _VARIANTS, _screen_calls, _share
from dtcseg_training.fields import Lesson, draw_field, make_lesson, no_crops
from dtcseg_training.plain_rgb import PlainRgb

from dtcseg.stain.brightfield import CHROMOGENS, HEMATOXYLIN, BrightfieldProfile
from dtcseg.stain.fluorescence import FluorescenceProfile


def test_plain_rgb_shows_how_dark_each_colour_is():
    profile = BrightfieldProfile("dab", "image", (250.0, 250.0, 250.0), HEMATOXYLIN, CHROMOGENS["dab"], 1.0, False)
    pixels = np.array([[[255, 0, 51]]], np.uint8)
    planes = PlainRgb.instead_of(profile).planes(pixels)
    assert planes.dtype == np.float32
    np.testing.assert_allclose(planes[:, 0, 0], [0, 1, 0.8], atol=1e-6)
    fluorescence = FluorescenceProfile({"nuclear": 0}, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert PlainRgb.instead_of(fluorescence) is fluorescence


def test_a_lesson_in_plain_rgb_has_the_same_truth():
    index = next(i for i in range(20) if draw_field(np.random.default_rng([1, i])).channels == ("R", "G", "B"))
    usual, plain = make_lesson(1, index), make_lesson(1, index, PlainRgb.instead_of)
    assert plain.planes.min() >= 0
    assert plain.planes.max() <= 1
    np.testing.assert_array_equal(usual.nuclei, plain.nuclei)
    np.testing.assert_array_equal(usual.calls, plain.calls)


class _Spots(torch.nn.Module):
    """A screen that sees a candidate wherever the cytokeratin plane is bright."""

    def forward(self, planes):
        logits = torch.full((1, 3, *planes.shape[2:]), -9.0)
        logits[:, 1] = planes[:, 1] - 4
        return logits


def test_calls_of_the_screen_alone():
    planes = np.zeros((3, 64, 64), np.float16)
    planes[1, 10, 10], planes[1, 40, 40], planes[1, 20, 50] = 8, 7, 6  # cell, cell, nothing
    nothing = np.zeros((0, 2), np.float32)
    true = np.array([(10, 10), (40, 40), (60, 5)], np.float32)  # the last is not seen at all
    recall, f1 = _screen_calls(_Spots(), [Lesson(planes, nothing, true, nothing, *no_crops())])
    assert abs(recall - 2 / 3) < 1e-6
    assert abs(f1 - 0.8) < 1e-6


def test_variants_that_see_the_same_planes_share_what_no_network_chose(tmp_path):
    for name in ("lessons", "real", "mined"):
        (tmp_path / "first" / name).mkdir(parents=True)
        (tmp_path / "first" / name / "1-00000.npz").write_bytes(b"a lesson")
    for number, plan in enumerate(_VARIANTS.values()):
        folder = tmp_path / str(number)
        folder.mkdir()
        _share(tmp_path / "first", folder, plan)
        assert {path.name for path in folder.iterdir()} == (set() if plan.plain_rgb else {"lessons", "real"})
    _share(tmp_path / "first", tmp_path / "first", _PLAN)
    assert (tmp_path / "0" / "lessons" / "1-00000.npz").read_bytes() == b"a lesson"
