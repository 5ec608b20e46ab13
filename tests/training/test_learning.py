"""Lessons, fitting, calibration and mining: small, but the real thing."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from dtcseg_training.calibrate import calibrate
from dtcseg_training.fields import LOOK_MARGIN_PX, ArraySlide, centres_of, draw_profile, far_off, make_lesson
from dtcseg_training.fit import FitSettings, centre_loss, fit_look, fit_screen, screen_example
from dtcseg_training.lessons import load_lessons, make_lessons
from dtcseg_training.mine import mine_lesson
from dtcseg_training.simulate import draw_spec, render_field
from dtcseg_training.simulate.cytokeratin import HAEMATOPOIETIC, TUMOUR, UNINTERPRETABLE
from dtcseg_training.state import FitState
from dtcseg_training.targets import centre_map
from dtcseg_training.train import Plan, train

from dtcseg.errors import UsageError
from dtcseg.network.model import LOOK_CLASSES, Look, Screen
from dtcseg.network.weights import ARCHITECTURE, Card, load, resolve, save
from dtcseg.working import plan_grid


@pytest.fixture(scope="module")
def lessons():
    return [make_lesson(99, i) for i in range(4)]


def assert_same(a, b):
    for key, value in a.__dict__.items():
        np.testing.assert_array_equal(value, b.__dict__[key])


def test_a_lesson_is_its_seed(lessons):
    assert_same(make_lesson(99, 1), lessons[1])
    assert not np.array_equal(make_lesson(98, 1).planes[:, :50, :50], lessons[1].planes[:, :50, :50])


def test_targets_lie_on_nuclei(lessons):
    """The nuclear plane is clearly darker under the centres than elsewhere."""
    for lesson in lessons:
        nuclear = lesson.planes[0].astype(np.float32)
        x, y = np.round(lesson.nuclei).astype(int).T
        inside = (x >= 0) & (y >= 0) & (x < nuclear.shape[1]) & (y < nuclear.shape[0])
        assert inside.mean() > 0.9
        assert np.median(nuclear[y[inside], x[inside]]) > np.median(nuclear) + 0.1


def test_masks_belong_to_the_object_in_the_middle(lessons):
    side = lessons[0].crops.shape[-1]
    for lesson in lessons:
        for masks, call in zip(lesson.masks, lesson.calls, strict=True):
            if LOOK_CLASSES[call] == "tumour":
                rows, columns = np.nonzero(masks[0])
                assert abs(rows.mean() - side / 2) < LOOK_MARGIN_PX
                assert abs(columns.mean() - side / 2) < LOOK_MARGIN_PX
                assert (masks[1] <= masks[0]).all()


def test_made_once_and_loaded(tmp_path, lessons, monkeypatch):
    make_lessons(tmp_path, seed=99, count=2, processes=1)
    times = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    monkeypatch.setattr("dtcseg_training.lessons._FEW", 0)  # in other processes now
    make_lessons(tmp_path, seed=99, count=3, processes=2)
    assert all(p.stat().st_mtime_ns == t for p, t in times.items())
    for got, want in zip(load_lessons(tmp_path, seed=99, count=3), lessons, strict=False):
        assert_same(got, want)


def test_centre_map_and_its_loss():
    target = centre_map((20, 30), [(4, 5), (28.6, 19.4), (50, 5)], 1.5)
    assert target[5, 4] == 1
    assert target[19, 29] == 1
    assert (target == 1).sum() == 2
    target = torch.from_numpy(target)[None, None]
    good, bad = (target - 0.5) * 12, (0.5 - target) * 12
    assert centre_loss(good, target) < 0.1 * centre_loss(bad, target)


def test_nuclei_that_the_border_cuts_have_their_centre_in_what_is_seen_of_them():
    rng = np.random.default_rng(12)
    field = render_field(draw_spec(rng, stain="dab", mpp_um=0.5, size_px=(300, 300)), rng)
    labels = np.zeros((300, 300), np.int32)
    whole = next(i for i, c in enumerate(field.cells) if c.nucleated and min(c.x_px, c.y_px, 260) > 40)
    others = tuple(replace(c, nucleated=False) for c in field.cells)
    cells = (*others[:whole], field.cells[whole], *others[whole + 1 :])
    labels[100:120, :8] = whole + 1  # the nucleus of that cell, cut by the left border
    labels[:6, 200:216] = -1  # one whose true centre lies above the field
    labels[299:, 50:53] = -1  # a sliver
    cut = replace(field, cells=cells, nucleus_labels=labels)
    slide = ArraySlide(field.image, 0.5, field.channels)
    nuclei, _, _ = centres_of(cut, plan_grid(slide, 0.5, 0.5))
    np.testing.assert_allclose(nuclei, [(3.5, 109.5), (207.5, 2.5)], atol=0.01)


def test_an_example_has_glass_around_the_field_and_asks_nothing_at_a_cut(lessons, monkeypatch):
    lesson = next(lesson for lesson in lessons if lesson.planes.shape[1:] == (264, 264))
    planes, target = screen_example(lesson, None)
    assert planes.shape == target.shape == (3, 272, 272)
    assert not planes[:, :4].any()
    assert target.min() >= 0
    monkeypatch.setattr("dtcseg_training.fit._resized", lambda p, _: np.kron(p, np.ones((1, 2, 2), np.float32)))
    monkeypatch.setattr("dtcseg_training.fit._ZOOMED", 1.0)
    told = [screen_example(lesson, np.random.default_rng(i))[1] for i in range(6)]
    assert any((t < 0).any() for t in told)
    for t in told:
        assert (t[:, 10:-10, 10:-10] >= 0).all()
    logits = torch.full((1, 3, 272, 272), -4.0)
    sure = torch.where(torch.from_numpy(told[0])[None] < 0, 9.0, logits)  # false centres where nothing is asked
    asked = torch.from_numpy(told[0])[None]
    torch.testing.assert_close(centre_loss(sure, asked), centre_loss(logits, asked))


def test_targets_stay_on_their_cells_however_they_are_zoomed(lessons, monkeypatch):
    """Bright pixels where the centres are: under every centre of an example there still is one."""
    monkeypatch.setattr("dtcseg_training.fit._FAINT", 0.0)
    lesson = lessons[0]
    inner = ((lesson.nuclei > 8) & (lesson.nuclei < 250)).all(1)
    apart = [c for c in lesson.nuclei[inner] if (np.hypot(*(lesson.nuclei - c).T) < 12).sum() == 1]
    planes = np.zeros_like(lesson.planes)
    for x, y in np.round(apart).astype(int):
        planes[0, y - 1 : y + 2, x - 1 : x + 2] = 1
    dotted = replace(lesson, planes=planes, nuclei=np.round(apart).astype(np.float32))
    rng = np.random.default_rng(3)
    spacings = set()
    for _ in range(30):
        seen, target = screen_example(dotted, rng)
        rows, columns = np.nonzero(target[0] == 1)
        assert len(rows) > 5
        assert np.median(seen[0, rows, columns]) > 0.4
        assert np.median(seen[0]) < 0.2
        spacings.add(len(rows))
    assert len(spacings) > 2  # seen larger, fewer cells fit in


def test_fitting_learns_and_repeats_itself(lessons):
    torch.set_num_threads(1)
    settings = FitSettings(epochs=3, batch=2, seed=4)
    first, second = (fit_screen(lessons, lessons[:2], settings) for _ in range(2))
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    torch.manual_seed(settings.seed)
    fresh = Screen().eval()
    planes = torch.from_numpy(lessons[0].planes[None, :, :224, :224].astype(np.float32))
    with torch.inference_mode():
        before, after = fresh(planes)[:, 0], first.eval()(planes)[:, 0]
    target = torch.from_numpy(centre_map((224, 224), [tuple(p) for p in lessons[0].nuclei], 1.3))[None]
    assert centre_loss(after[:, None], target[:, None]) < centre_loss(before[:, None], target[:, None])
    look = fit_look(lessons, lessons[:2], FitSettings(epochs=1, batch=4, seed=4))
    blind = Screen().eval()
    torch.nn.init.constant_(blind.head.bias, -50.0)
    with pytest.raises(ValueError, match="not learned enough"):
        calibrate(blind, look.eval(), lessons, lessons)


def test_a_stopped_fit_goes_on_as_if_never_stopped(tmp_path, lessons, monkeypatch):
    torch.set_num_threads(1)
    settings = FitSettings(epochs=3, batch=2, seed=4)
    whole = fit_look(lessons, lessons[:1], settings)
    saved = FitState.save

    def stop_after_two(state, path):
        saved(state, path)
        if state.values["epochs"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(FitState, "save", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        fit_look(lessons, lessons[:1], settings, keep=tmp_path / "state")
    monkeypatch.undo()
    resumed = fit_look(lessons, lessons[:1], settings, keep=tmp_path / "state")
    for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    (tmp_path / "state").write_bytes(b"damaged")
    with pytest.raises(UsageError, match="remove it to begin anew"):
        fit_look(lessons, lessons[:1], settings, keep=tmp_path / "state")


def test_weights_are_made_by_one_command(tmp_path, monkeypatch):
    """A run far too short to be of use, but all of it; the same command again makes the same weights from its files."""
    plan = Plan(
        lessons=4,
        held_out=2,
        mined=2,
        mined_held_out=2,
        mined_dirty=2,
        real=0,
        mined_real=0,
        real_counted=0,
        screen_epochs=1,
        look_epochs=1,
        mined_epochs=1,
        start=resolve().name,
    )
    info = train(tmp_path / "new.safetensors", tmp_path / "work", plan)
    assert info.card.parent == resolve().sha256
    assert 0.01 <= info.card.candidate_threshold <= 0.4
    load(info)
    monkeypatch.setattr("dtcseg_training.train.fit_look", lambda *_, **__: pytest.fail("fitted again"))
    again = train(tmp_path / "again.safetensors", tmp_path / "work", plan)
    assert again.card.figures == info.card.figures


def test_calibration_of_the_released_weights(lessons):
    found = calibrate(*load(resolve()), lessons, lessons)
    assert found.figures["nucleus_recall"] > 0.85
    assert found.figures["nucleus_precision"] > 0.85
    assert 0.1 <= found.nucleus_threshold <= 0.9
    assert found.figures["held_out_tumour_cells"] == sum((x.calls == 0).sum() for x in lessons)
    half_labelled = [replace(lesson, nuclei=lesson.nuclei[::2]) for lesson in lessons]
    with_real = calibrate(*load(resolve()), lessons, lessons, half_labelled)
    assert with_real.nucleus_threshold > found.nucleus_threshold
    assert with_real.candidate_threshold == found.candidate_threshold


def blind_or_not(path, bias):
    """Weights of a screen that has learned nothing and sees something everywhere or nowhere."""
    torch.manual_seed(0)
    screen = Screen()
    torch.nn.init.constant_(screen.head.bias, bias)
    save(path, screen, Look(), Card("test", ARCHITECTURE, 0.5, 0.3, 0.5, 1.0, 0.01))
    return str(path)


def test_mined_crops_are_candidates_with_their_truth(tmp_path):
    lesson = mine_lesson(99, 2, blind_or_not(tmp_path / "w.safetensors", 0.0))
    tumour = lesson.calls == LOOK_CLASSES.index("tumour")
    assert 0 < (~tumour).sum() <= 24
    assert lesson.crops.shape[0] == lesson.masks.shape[0] == len(lesson.calls)
    haematopoietic = lesson.calls == LOOK_CLASSES.index("haematopoietic")
    assert lesson.masks[haematopoietic, 0].any(axis=(1, 2)).all()


def test_tumour_cells_that_the_screen_misses_are_learned_from_all_the_same(tmp_path, lessons):
    some = next(i for i, lesson in enumerate(lessons) if len(lesson.tumour) > 0)
    lesson = mine_lesson(99, some, blind_or_not(tmp_path / "w.safetensors", -20.0))
    assert len(lesson.calls) == len(lesson.tumour)
    assert (lesson.calls == LOOK_CLASSES.index("tumour")).all()
    assert lesson.masks[:, 0].any(axis=(1, 2)).all()


def test_far_off_laboratories_leave_what_is_drawn_otherwise():
    rng = np.random.default_rng(5)
    near = [draw_spec(rng, stain="dab") for _ in range(60)]
    far = [far_off(rng, spec) for spec in near]
    assert max(spec.staining.ck_od for spec in near) <= 1.4 < max(spec.staining.ck_od for spec in far)
    assert min(spec.staining.ck_od for spec in far) < 0.25 <= min(spec.staining.ck_od for spec in near)
    assert min(spec.camera.jpeg_quality or 100 for spec in far) < 40
    for spec, moved in zip(near, far, strict=True):
        for stain in ("hematoxylin", "chromogen"):
            assert np.dot(getattr(spec.staining, stain), getattr(moved.staining, stain)) > np.cos(np.radians(25))
        assert moved.counts == spec.counts


def test_positive_cells_do_not_change_what_ordinary_ones_show():
    """A profile drawn from a field rich in blurred dark objects is that of the same laboratory without them."""

    def spread(spec):
        field = render_field(spec, np.random.default_rng(8))
        profile = draw_profile(
            field.image, field.channels, field.mpp_um, np.random.default_rng(1), field.ck_labels != 0
        )
        return profile.ck_spread

    for seed in (0, 5):
        spec = draw_spec(np.random.default_rng(seed), stain="dab", mpp_um=0.5, size_px=(792, 792), enriched=True)
        dark = replace(spec.staining, ck_od=1.3)
        many = tuple((k, 2 * n) for k, n in spec.counts if k in TUMOUR + UNINTERPRETABLE + HAEMATOPOIETIC)
        spec = replace(spec, staining=dark, optics=replace(spec.optics, blur_um=1.2), counts=many)
        assert spread(spec) == pytest.approx(spread(replace(spec, counts=())), rel=0.15)  # without room: 2.3, 2.8
