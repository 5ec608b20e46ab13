"""Fields like a laboratory's slides, and the look that is fitted to both: what is measured, drawn and replaced."""

from dataclasses import replace

import numpy as np
import pytest
from dtcseg_training.fields import draw_field, field_lesson
from dtcseg_training.learn.alike import Sitter, draw_alike, set_simulator, sitters
from dtcseg_training.learn.bar import in_words
from dtcseg_training.learn.contest import Challenger, laboratory_before, look_before
from dtcseg_training.learn.simulated import _folder
from dtcseg_training.learn.style import apart, style_of
from dtcseg_training.learn.training_set import SlideCrops
from dtcseg_training.learn.tune import _pool, plan_for
from dtcseg_training.simulate import draw_spec, render_field
from dtcseg_training.simulate.spec import Optics, Staining

from dtcseg.network.engine import Engine
from dtcseg.network.laboratory import laboratories_of
from dtcseg.network.model import LOOK_CLASSES, LOOK_PX
from dtcseg.network.weights import load, resolve

TUMOUR = LOOK_CLASSES.index("tumour")
SIDE_PX = 152
VECTORS = (0.65, 0.70, 0.29, 0.12, 0.91, 0.40)
OURS, THEIRS = (*VECTORS, 0.1), (0.65, 0.70, 0.29, 0.27, 0.57, 0.78, 0.02)


def stuck(cytoplasm_ck_od):
    """A laboratory whose chromogen sticks so much, out of focus."""
    spec = draw_spec(np.random.default_rng(5), stain="new_fuchsin", mpp_um=0.5, size_px=(800, 800))
    staining = Staining(chromogen=(0.12, 0.91, 0.40), ck_od=0.7, cytoplasm_ck_od=cytoplasm_ck_od)
    counts = (("tumour_pair", 2), ("hc_paranuclear", 4), ("debris", 4), ("flake", 4))  # a style needs a dozen crops
    return replace(spec, staining=staining, optics=Optics(blur_um=1.0), density_per_mm2=2500.0, counts=counts)


def slide_of(spec, seed):
    """Reviewed crops of a field, as of a slide."""
    rng = np.random.default_rng(seed)
    field = render_field(spec, rng)
    seen = []
    lesson = field_lesson(field, rng, lambda profile: seen.append(profile) or profile)
    count = len(lesson.calls)
    masks = lesson.masks
    return SlideCrops(
        "a", "k", "p", False, 0, (), lesson.crops, masks, np.ones((count, 2), bool), lesson.calls, lesson.spreads,
        seen[-1].signature, spec.stain, spec.mpp_um,
    )  # fmt: skip


def setting(slides, processes=1):
    patch = pytest.MonkeyPatch()
    patch.setattr("dtcseg_training.learn.alike._PILOTS", 24)
    patch.setattr("dtcseg_training.learn.alike._KEPT", 4)
    found = set_simulator(slides, processes=processes, on_pilot=lambda done, total: None, stop=lambda: False)
    patch.undo()
    return found


@pytest.fixture(scope="module")
def known():
    slides = [slide_of(stuck(0.2), seed) for seed in (1, 2)]
    return setting(sitters(slides, [slide.masks[:, 0] for slide in slides]))


def strong(od, count, call="tumour", signature=OURS):
    """Crops of objects of one strength."""
    crops = np.zeros((count, 3, SIDE_PX, SIDE_PX), np.float16)
    masks = np.zeros((count, 2, SIDE_PX, SIDE_PX), bool)
    masks[:, :, 60:90, 60:90] = True
    crops[:, 1, 60:90, 60:90] = od
    calls = np.full(count, LOOK_CLASSES.index(call))
    return SlideCrops(
        "a", "k", "p", False, 0, (), crops, masks, masks[:, :, 0, 0], calls, np.full(count, 0.05, np.float32), signature
    )


def strength(*slides):
    found = {sitter.log_ck_od for sitter in sitters(slides, [slide.masks[:, 0] for slide in slides])}
    (value,) = found
    return float(np.exp(value))


def test_tumour_cells_tell_how_strongly_their_laboratory_stains():
    assert strength(strong(0.3, 30)) == pytest.approx(0.4, rel=0.05)
    assert strength(strong(0.9, 30), strong(0.9, 10)) == pytest.approx(1.2, rel=0.05)
    assert strength(strong(0.3, 30, call="haematopoietic")) == pytest.approx(0.6)
    assert 0.45 < strength(strong(0.3, 1)) < 0.6  # one cell tells little
    assert strength(strong(0.3, 30, signature=(0.1,))) == pytest.approx(0.6)  # in fluorescence it is no OD
    (sure,), (unsure,) = (sitters([s], [s.masks[:, 0]]) for s in (strong(0.3, 30), strong(0.3, 1)))
    assert sure.log_ck_od_sd < 0.5 * unsure.log_ck_od_sd


def test_style_knows_strength_and_blur():
    rng = np.random.default_rng(2)
    everywhere = np.ones((80, 80), bool)
    planes = rng.normal(0.2, 0.1, (3, 80, 80)).astype(np.float32)
    blurred = (planes + np.roll(planes, 1, 1) + np.roll(planes, 1, 2)) / 3
    stronger = planes + np.array([0, 0.3, 0], np.float32)[:, None, None]
    mine = style_of(planes, everywhere)
    again = style_of(rng.normal(0.2, 0.1, (3, 80, 80)).astype(np.float32), everywhere)
    assert apart(mine, mine) == 0
    assert apart(mine, again) < 0.3 * min(apart(mine, style_of(other, everywhere)) for other in (blurred, stronger))


def test_fields_are_like_the_slides(known):
    """Nearer to them than fields of any laboratory, in colour, in what sticks, and in how fine they are."""

    def far(draw):
        found = []
        for seed in range(6):
            rng = np.random.default_rng([3, seed])
            field = draw(rng)
            (sitter,) = sitters([one := slide_of_field(field, rng)], [one.masks[:, 0]])
            found.append(min(apart(np.array(sitter.style), np.array(one.sitter.style)) for one in known))
        return np.median(found)

    assert far(lambda rng: draw_alike(known, rng)[0]) < 0.7 * far(draw_field)


def slide_of_field(field, rng):
    seen = []
    lesson = field_lesson(field, rng, lambda profile: seen.append(profile) or profile)
    return SlideCrops(
        "a", "k", "p", False, 0, (), lesson.crops, lesson.masks, np.ones((len(lesson.calls), 2), bool), lesson.calls,
        lesson.spreads, seen[-1].signature,
    )  # fmt: skip


def test_a_field_is_its_seed_and_tells_its_stain(known):
    (one, stain), (again, _) = (draw_alike(known, np.random.default_rng(8)) for _ in range(2))
    assert stain == "new_fuchsin"
    assert (one.image == again.image).all()
    fluorescent = Sitter("if", 0.5, (0.05,), tuple([0.0] * 24), -0.5, 0.4)
    field, stain = draw_alike(setting([fluorescent]), np.random.default_rng(8))
    assert (stain, len(field.channels)) == ("if", 3)
    assert field.channels != ("R", "G", "B")


def test_every_slide_gets_laboratories_of_its_own_stain_and_they_come_nearer(known):
    ours = known[0].sitter
    theirs = replace(ours, stain="dab", mpp_um=0.3, signature=THEIRS)
    both = setting([ours, theirs])
    assert [{(spec.stain, spec.mpp_um) for spec in one.specs} for one in both] == [
        {("new_fuchsin", 0.5)},
        {("dab", 0.3)},
    ]
    sticking = [np.median([spec.staining.cytoplasm_ck_od for spec in one.specs]) for one in known]
    assert all(0.1 < value < 0.3 for value in sticking), "of 0.02 to 0.3, where it was 0.2"


def test_slides_that_are_too_rare_among_others_get_no_fields(known, monkeypatch):
    monkeypatch.setattr("dtcseg_training.learn.alike._PILOTS", 2)
    many = [known[0].sitter] * 40 + [replace(known[0].sitter, stain="dab", signature=THEIRS)]
    found = set_simulator(many, processes=1, on_pilot=lambda done, total: None, stop=lambda: False)
    assert len(found) == 40
    assert draw_alike(found, np.random.default_rng(1))[1] == "new_fuchsin"


def test_pixel_sizes_that_differ_in_the_third_decimal_are_one():
    slides = [replace(strong(0.5, 2), mpp_um=mpp_um) for mpp_um in (0.2499, 0.2503, 0.1, 2.0, 0.5)]
    found = sitters(slides, [slide.masks[:, 0] for slide in slides])
    assert [sitter.mpp_um for sitter in found] == [0.25, 0.25, 0.25, 1.05, 0.5]


def test_setting_the_simulator_stops_when_asked_and_repeats_itself(known):
    told = []
    stopped = set_simulator(
        [known[0].sitter], processes=1, on_pilot=lambda done, total: told.append(done), stop=lambda: len(told) >= 3
    )
    assert stopped is None
    assert told == [1, 2, 3]
    assert setting([one.sitter for one in known], processes=2) == known


def test_fields_of_other_slides_lie_in_another_folder(known, tmp_path):
    info = resolve()
    names = {_folder(tmp_path, "alike", info, slides) for slides in (known, known[:1])}
    names |= {_folder(tmp_path, "reference", info)}
    assert len(names) == 3


def test_few_cells_are_few_of_a_batch():
    assert [plan_for(cells, 0, 1, "cpu").own for cells in (5, 20, 133, 2000)] == [1, 1, 8, 8]
    assert [plan_for(133, cells, 1, "cpu").controls for cells in (0, 5, 64, 2000)] == [0, 1, 4, 8]


def test_a_single_crop_is_of_either_kind():
    cells = strong(0.5, 10)
    calls = np.repeat([TUMOUR, TUMOUR + 1], 5)
    pool = _pool(cells.crops, cells.masks, calls, cells.spreads)
    drawn = [pool.draw(1, np.random.default_rng(seed))[0] < 5 for seed in range(40)]
    assert 10 < sum(drawn) < 30
    assert sorted((pool.draw(4, np.random.default_rng(1)) < 5).tolist()) == [False, False, True, True]


def test_a_laboratory_s_look_is_replaced_and_others_stay(tmp_path):
    parent, look = resolve(), load(resolve())[1]
    first = Challenger(tmp_path / "1.safetensors", parent, look, "first", [OURS], 0.02).calibrate(temperature=2.0)
    second = Challenger(tmp_path / "2.safetensors", first, look, "second", [THEIRS], 0.03).written()
    known = laboratories_of(second.card.laboratories)
    assert [one.slides for one in known] == [(OURS,), (THEIRS,)]
    assert [one.temperature for one in known] == [2.0, parent.card.temperature]
    nearby = (*VECTORS, 0.11)
    assert laboratory_before(second, [nearby]) == 0
    assert laboratory_before(parent, [nearby]) is None
    third = Challenger(tmp_path / "3.safetensors", second, look, "third", [nearby], 0.04).written()
    assert [one.slides for one in laboratories_of(third.card.laboratories)] == [(THEIRS,), (OURS, nearby)]
    assert third.card.parent == second.sha256
    assert [one.candidate_threshold for one in laboratories_of(third.card.laboratories)] == [0.03, 0.04]


def test_it_goes_on_from_the_laboratory_s_own_look(tmp_path):
    look = load(resolve())[1]
    look.calls[3].bias.data += 1.0
    first = Challenger(tmp_path / "1.safetensors", resolve(), look, "first", [OURS], 0.02).written()
    bias = [look_before(first, [slide]).calls[3].bias for slide in (OURS, THEIRS)]
    assert (bias[0] == look.calls[3].bias).all()
    assert (bias[1] == load(resolve())[1].calls[3].bias).all()


def test_a_bar_lowers_the_odds_of_a_tumour_cell_on_the_laboratory_s_slides_alone(tmp_path):
    parent = resolve()
    challenger = Challenger(tmp_path / "1.safetensors", parent, load(parent)[1], "first", [OURS], 0.02)
    crops = np.random.default_rng(1).normal(0.1, 0.1, (3, 3, LOOK_PX, LOOK_PX)).astype(np.float32)

    def asked(info):
        return [Engine(info, "cpu").look(crops, 0.1, slide)[1] for slide in (OURS, THEIRS)]

    before, after = asked(challenger.calibrate(temperature=2.0)), asked(challenger.calibrate(bar=0.75))
    odds = [calls[0][:, TUMOUR] / (1 - calls[0][:, TUMOUR]) for calls in (before, after)]
    np.testing.assert_allclose(np.log(odds[0] / odds[1]), 0.75, rtol=1e-3)
    np.testing.assert_array_equal(before[1], after[1])
    assert (challenger.laboratory.temperature, challenger.laboratory.bar) == (2.0, 0.75)
    assert "2.1 times lower" in in_words(challenger.laboratory.bar)
    assert not in_words(0.0)
