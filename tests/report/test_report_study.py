"""From slides, verdicts and tables to results: the figures, and one clear line for everything that is amiss."""

import csv
import io

import pytest
from making_study import INFO

from dtcseg.report.changes import key_of
from dtcseg.report.page import render_report
from dtcseg.report.tables import patients_csv, slides_csv
from dtcseg.trial.clearance import change
from dtcseg.trial.controls import detection_limits
from dtcseg.trial.detection import captured
from dtcseg.trial.quick import as_screened, rate_of
from dtcseg.trial.rates import result, screened
from dtcseg.verdicts import CellRef, Shown, open_log, read_candidates, review


def rows(content):
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def square(x_px, y_px):
    return [(x_px - 15, y_px - 15), (x_px + 15, y_px - 15), (x_px, y_px + 15)]


@pytest.mark.parametrize(("count", "low", "high"), [(0, 1.9e6, 2.1e6), (1, 2e6, 2e6), (7, 1.8e6, 2.2e6), (3, 0, 5e6)])
def test_quick_rates_are_the_exact_ones(count, low, high):
    quick, exact = rate_of(count, as_screened(2e6, low, high)), result(count, screened(2e6, low, high))
    for name in ("per_million", "low", "high", "limit"):
        assert getattr(quick, name) == pytest.approx(getattr(exact, name), rel=2e-3), name
    assert quick.high >= exact.high * (1 - 1e-9)


def test_nothing_found_is_never_zero(cohort):
    cohort.slide()
    (row,) = rows(patients_csv(cohort.study()))
    assert row["result"] == "not detected, < 1.50 per 10^6 (95 %)"
    assert row["upper_limit"] == "1.4979"
    assert row["mnc_low"] == "2000000.0"


def test_comparisons_with_earlier_time_points(cohort):
    for timepoint, tumours in (("C12", 0), ("baseline", 8), ("C3", 2)):
        cohort.slide("P1", timepoint, tumours)
    study = cohort.study()
    first, middle, last = rows(patients_csv(study))
    assert [row["timepoint"] for row in (first, middle, last)] == ["baseline", "C3", "C12"]
    assert first["previous_timepoint"] == first["change"] == ""
    known = change(2, 2e6, 0, 2e6)
    assert (last["previous_timepoint"], last["change"]) == ("C3", "cannot be told")
    assert float(last["rate_ratio"]) == pytest.approx(known.ratio, rel=1e-3)
    assert float(last["rate_ratio_low"]) == pytest.approx(known.low, rel=1e-3)
    assert float(last["rate_ratio_high"]) == pytest.approx(known.high, rel=1e-3)
    assert last["p_reduced"] == f"{known.p_reduced:.4f}"
    assert last["p_reduced_80"] == f"{known.p_reduced_80:.4f}"
    assert last["p_unchanged_looks_cleared"] == f"{known.luck:.4f}"
    assert (last["first_timepoint"], last["change_from_first"]) == ("baseline", "cleared")


def test_time_point_without_order_is_compared_with_nothing(cohort):
    cohort.slide("P1", "surgery", 3)
    cohort.slide("P1", "C3", 0)
    study = cohort.study()
    assert not study.comparisons
    assert len(study.specimens) == 2
    assert any("'surgery'" in warning for warning in study.warnings)
    cohort.sheet("timepoints.csv", "timepoint,order\nsurgery,1\nC3,2\n")
    study = cohort.study()
    assert study.warnings == ()
    assert study.comparisons[key_of(study.specimens[1])].previous.earlier == "surgery"


def test_time_points_that_nobody_compares_need_no_order(cohort):
    cohort.slide("", "")
    cohort.slide("P1", "surgery")
    cohort.slide("P2", "C3")
    cohort.slide("P2", "C6")
    assert cohort.study().warnings == ()


def test_readers_overrule_the_program(cohort):
    folder = cohort.slide("P1", "C3", 3)
    cells = read_candidates(folder)
    with open_log(folder, "anna") as log:
        log.give(cells[0], "haematopoietic")
    study = cohort.study()
    assert (study.specimens[0].dtc, study.specimens[0].reviewed) == (2, "in progress")
    with open_log(folder, "anna") as log:
        log.give(cells[1], "tumour")
        log.delete(cells[2])
        log.add(5000.0, 5000.0, square(5000.0, 5000.0), "tumour")
        log.sign_off()
    study = cohort.study()
    (row,) = rows(patients_csv(study))
    assert (row["dtc"], row["reviewed"], row["result"]) == ("2", "signed off", "DTC detected")
    (slide,) = rows(slides_csv(study.rows, study.counts))
    assert (slide["tumour"], slide["haematopoietic"], slide["reviewed"]) == ("2", "1", "signed off")
    assert slide["candidates"] == "3"


def test_readers_who_differ_count_nothing_and_say_so(cohort):
    folder = cohort.slide("P1", "C3", 1)
    (cell,) = read_candidates(folder)
    for reader, word in (("anna", "tumour"), ("bert", "artefact")):
        with open_log(folder, reader) as log:
            log.give(cell, word)
    study = cohort.study()
    (row,) = rows(patients_csv(study))
    assert (row["dtc"], row["unsettled"], row["reviewed"]) == ("0", "1", "yes")
    assert any("readers differ on 1 cell" in warning for warning in study.warnings)
    assert any("patient P1 C3: 1 cell not settled" in warning for warning in study.warnings)


@pytest.mark.parametrize(
    ("isotype", "mnc", "dtc", "words"),
    [
        (0, 2_000_000, "1", "isotype control negative: probable cells count"),
        (1, 2_000_000, "0", "isotype control shows 1: probable cells do not count"),
        (0, 500_000, "0", "isotype control screened 25 % of the sample's cells: probable cells do not count"),
        (None, 0, "0", "no isotype control: probable cells do not count"),
    ],
)
def test_isotype_control_gates_probable_cells(cohort, isotype, mnc, dtc, words):
    folder = cohort.slide("P1", "C3", 1)
    if isotype is not None:
        cohort.slide("P1", "C3", isotype, role="isotype_control", mnc=mnc)
        cohort.slide("P2", "C3", 5, role="isotype_control")  # of another patient: gates nothing here
        cohort.slide("P2", "C3")
    (cell,) = read_candidates(folder)
    with open_log(folder, "anna") as log:
        log.give(cell, "probable")
    row = rows(patients_csv(cohort.study()))[0]
    assert (row["dtc"], row["probable"], row["probable_note"]) == (dtc, "1", words)


def test_sample_is_tested_against_its_isotype_control(cohort):
    cohort.slide("P1", "C3", 6)
    cohort.slide("P1", "C3", 0, role="isotype_control")
    (row,) = rows(patients_csv(cohort.study()))
    assert (row["isotype_cells"], row["isotype_mnc"]) == ("0", "2000000")
    assert float(row["p_above_isotype"]) == pytest.approx(0.5**6, rel=1e-3)


def test_negative_controls_give_limits(cohort):
    cohort.slide("P1", "C3", 1)
    assert rows(patients_csv(cohort.study()))[0]["limit_of_blank"] == ""
    for _ in range(10):
        cohort.slide("", "", 0, role="negative_control")
    cohort.slide("", "", 9, role="negative_control", stain="dab")  # of another stain: says nothing here
    study = cohort.study()
    (row,) = rows(patients_csv(study))
    known = detection_limits([0] * 10, [2e6] * 10, 2e6)
    assert float(row["limit_of_blank"]) == pytest.approx(known.blank_per_million)
    assert float(row["limit_of_detection"]) == pytest.approx(known.detection_per_million, rel=1e-3)
    assert (study.controls.negative, study.controls.negative_cells) == (11, 9)


def test_positive_controls_are_judged(cohort):
    cohort.slide("P1", "C3")
    cohort.slide("", "", 9, role="positive_control", expected=10)
    cohort.slide("", "", 4, role="positive_control", expected=50)
    cohort.slide("", "", 0, role="positive_control")
    study = cohort.study()
    assert [one.verdict.accepted if one.verdict else None for one in study.controls.positive] == [True, False, None]
    assert [one.score is None for one in study.controls.positive] == [False, False, True]
    page = render_report(cohort.root, study, INFO).decode()
    assert page.count('<circle class="free"') == 1  # recovered
    assert page.count('<circle class="dtc"') == 1  # not
    assert any("s2: recovery 8 %" in warning and "in doubt" in warning for warning in study.warnings)
    assert any("s3: no tumour cell found" in warning for warning in study.warnings)
    assert ("1-3s", "s2") in study.controls.violations


def test_other_assays(cohort):
    for patient, dtc in (("P1", 3), ("P2", 0), ("P3", 2), ("P4", 0)):
        cohort.slide(patient, "C3", dtc)
    cohort.sheet(
        "assays.csv",
        "patient,timepoint,assay,value,unit,detected\nP1,C3,ctDNA,0.2,%,yes\nP2,C3,ctDNA,0,%,no\nP3,C3,ctDNA,0,%,no\n"
        "P4,C3,ctDNA,0.1,%,yes\nP9,C3,ctDNA,0.1,%,yes\nP1,C6,ctDNA,0.1,%,yes\n",
    )
    study = cohort.study()
    (one,) = study.concordance
    assert (one.counts.both, one.counts.first_only, one.counts.second_only, one.counts.neither) == (1, 1, 1, 1)
    assert one.figures.kappa.value == pytest.approx(0.0)
    assert study.warnings == ("assays.csv, row 6: patient 'P9' has no slide here; the row is left out",)
    assert len(study.assays) == 5  # the blood sample without marrow stays on the time line
    assert study.order.names == ("C3", "C6")


def test_arms_are_compared(cohort):
    arms = ["patient,arm,control"]
    for number in range(12):
        treated = number % 2
        cohort.slide(f"P{number}", "baseline", 6)
        cohort.slide(f"P{number}", "C6", 0 if treated else 6)
        arms.append(f"P{number},{'A' if treated else 'obs'},{'no' if treated else 'yes'}")
    cohort.slide("P99", "baseline", 1)
    arms.append("P77,A,no")
    cohort.sheet("arms.csv", "\n".join(arms) + "\n")
    study = cohort.study()
    (effect,) = study.arms.fit.effects
    assert effect.arm == "A"
    assert effect.low > 0.5
    assert study.arms.enrolled_positive
    assert {(f.arm, f.time, f.free) for f in study.arms.free} == {
        ("A", 0, 0),
        ("A", 1, 6),
        ("obs", 0, 0),
        ("obs", 1, 0),
    }
    assert [bar.change_percent for bar in study.arms.bars["C6"]] == [0.0] * 6 + [-100.0] * 6
    assert len(study.arms.lines) == 12
    assert study.warnings == (
        "arms.csv: 1 of its patients have no result here: 'P77'",
        "arms.csv: 1 patients are in no arm and no part of the comparison: 'P99'",
    )
    assert {row["arm"] for row in rows(patients_csv(study))} == {"A", "obs", ""}


def test_regression_that_cannot_be_done_is_one_line(cohort):
    for patient in ("P1", "P2"):
        for timepoint in ("baseline", "C3"):
            cohort.slide(patient, timepoint)
    cohort.sheet("arms.csv", "patient,arm,control\nP1,A,no\nP2,B,yes\n")
    study = cohort.study()
    assert study.arms.fit is None
    assert study.warnings == (
        "arms are not compared by regression: no tumour cell in the whole cohort: nothing to compare",
    )


def test_inconsistent_slides_table(cohort):
    cohort.slide("P1", "C3")
    cohort.slide("p 1", "C3")
    cohort.slide("P2", "C3")
    cohort.slide("P2", "C3", stain="dab")
    cohort.slide("", "C6")
    assert set(cohort.study().warnings) == {
        "slide s4: has a time point but no patient, so it stands alone",
        "patients 'P1', 'p 1' differ only in spelling and are counted apart; use one name in slides.csv",
        "patient P2 C3: slides of different stains (dab, new_fuchsin) are added up",
    }


def test_control_without_sample_and_zero_area(cohort):
    cohort.slide("P1", "C3", area_mm2=0.0, mnc=0)
    cohort.slide("P1", "C6", 0, role="isotype_control")
    study = cohort.study()
    assert set(study.warnings) == {
        "patient P1 C3: no area could be judged, so there is no result, neither positive nor negative",
        "isotype control s1: there is no sample of P1 C6 that it could control",
    }
    (row,) = rows(patients_csv(study))
    assert (row["result"], row["per_million"]) == ("not assessable", "")


def test_verdicts_on_cells_that_are_gone(cohort):
    folder = cohort.slide("P1", "C3", 2)
    with open_log(folder, "anna") as log:
        log.give(read_candidates(folder)[1], "tumour")
    other = cohort.slide("P1", "C6", 0)
    for name in ("cells.csv", "cells.geojson"):
        (folder / name).write_bytes((other / name).read_bytes())
    warnings = cohort.study().warnings
    assert any("s0: 1 verdict is on a cell that the slide no longer has" in warning for warning in warnings)


def test_log_that_was_altered_is_one_line_and_the_calls_stand(cohort):
    folder = cohort.slide("P1", "C3", 1)
    (cell,) = read_candidates(folder)
    with open_log(folder, "anna") as log:
        log.give(cell, "artefact")
    (path,) = (folder / "verdicts").glob("*.jsonl")
    path.write_bytes(path.read_bytes().replace(b"artefact", b"tumour!!", 1))
    study = cohort.study()
    assert study.specimens[0].dtc == 1
    (warning,) = study.warnings
    assert warning.startswith("slide s0: its verdicts are not used: ")


def test_dtc_on_a_slide_without_a_count_is_not_lost(cohort):
    cohort.slide("P1", "C3", 1, mnc=0)
    (row,) = rows(patients_csv(cohort.study()))
    assert (row["dtc"], row["result"], row["per_million"]) == ("1", "DTC detected", "")


def test_a_flood_of_tumour_calls_is_doubted_until_readers_have_seen_all_of_them(cohort):
    folder = cohort.slide("P1", "C3", 2, mnc=900, qc=("many_tumour_calls:2_in_900_cells",))
    first, second = read_candidates(folder)
    with open_log(folder, "anna") as log:
        log.give(first, "tumour")
        assert cohort.study().warnings[0].startswith("slide s0: 2 of 900 cells are called tumour")
        log.give(second, "tumour")
    study = cohort.study()
    assert study.warnings == ()
    assert study.specimens[0].dtc == 2


def test_seeded_and_audited_cells_are_reported_and_counted_in_nothing(cohort):
    folder = cohort.slide("P1", "C3", 1)
    with open_log(folder, "anna") as log:
        for n, word in enumerate(("tumour", "probable", "artefact", "skip")):
            log.give(CellRef(f"seed-{n}", 0, 0, mark="seeded"), word)
        log.give(CellRef("nucleus-1", 900, 900, mark="audit"), "haematopoietic")
    study = cohort.study()
    assert (study.watch.seeded.count, study.watch.seeded.total) == (2, 3)
    assert (study.watch.audited.count, study.watch.audited.total) == (0, 1)
    assert study.watch.captured is None
    assert study.specimens[0].dtc == 1
    page = render_report(cohort.root, study, INFO).decode()
    assert "2 of 3 known tumour cells" in page


def test_two_searches_tell_how_many_cells_there_were(cohort):
    """The program calls four; a blind reader agrees with two, says no to one, misses one and adds one; all settled."""
    folder = cohort.slide("P1", "C3", 4)
    cells = read_candidates(folder)
    with open_log(folder, "anna", shown=Shown("random", calls=False, verdicts=False)) as log:
        for cell, word in zip(cells, ("tumour", "tumour", "artefact", "artefact"), strict=True):
            log.give(cell, word)
        log.add(5000.0, 5000.0, square(5000.0, 5000.0), "tumour")
        log.sign_off()
    consensus = review(folder)
    with open_log(folder, "dora", role="adjudication") as log:
        for one in consensus.cells:
            decision = "artefact" if one.cell.id == cells[2].id else "tumour"
            log.adjudicate(one.cell, decision, [(say.reader, say.entry) for say in one.says])
        log.sign_off()
    study = cohort.study()
    assert study.specimens[0].dtc == 4
    assert study.watch.searched == (3, 3, 2)
    assert study.watch.captured == captured(3, 3, 2)
    assert "Two searches" in render_report(cohort.root, study, INFO).decode()
