"""What counts: adjudication, agreement, a single reader; and verdicts found again after another scoring."""

import itertools

import pytest
from fake_results import OTHER_WEIGHTS, score, square

from dtcseg.verdicts import NOT_AN_OBJECT, CellRef, Shown, added_cells, new_cell, open_log, replay, review, ring_of
from dtcseg.verdicts.attach import match

BLIND = Shown("random", calls=False, verdicts=False)


@pytest.fixture
def slide(tmp_path):
    return score(tmp_path)


def say(folder, reader, verdicts, sign=False):
    with open_log(folder, reader, shown=BLIND) as log:
        for cell, verdict in verdicts:
            log.give(cell, verdict)
        if sign:
            log.sign_off()


def result(folder):
    return [(cell.verdict, cell.basis) for cell in review(folder).cells]


def test_nothing_said(slide):
    folder, cells = slide
    consensus = review(folder)
    assert consensus.status == "unreviewed"
    assert [cell.cell for cell in consensus.cells] == list(cells)
    assert {cell.basis for cell in consensus.cells} == {"unread"}
    assert consensus.counts == {}


def test_one_reader_then_two_who_differ_then_an_adjudicator(slide):
    folder, cells = slide
    say(folder, "anna", zip(cells, ("tumour", "probable", "skip"), strict=True))
    assert result(folder) == [("tumour", "single"), ("probable", "single"), ("", "skipped")]
    assert review(folder).status == "complete"
    say(folder, "ben", zip(cells, ("tumour", "artefact", "haematopoietic"), strict=True), sign=True)
    consensus = review(folder)
    assert result(folder) == [("tumour", "agreed"), ("", "unresolved"), ("haematopoietic", "single")]
    assert [cell.cell.id for cell in consensus.unresolved] == [cells[1].id]
    assert consensus.counts == {"tumour": 1, "haematopoietic": 1}
    assert [(reader.reader, reader.status, reader.blind) for reader in consensus.readers] == [
        ("anna", "complete", True),
        ("ben", "signed_off", True),
    ]
    weighed = [(word.reader, word.entry) for word in consensus.unresolved[0].says]
    with open_log(folder, "cleo", role="adjudication") as log:
        log.adjudicate(cells[1], "uninterpretable", weighed, outline_px=square(300, 200, 7), comment="degenerate")
    consensus = review(folder)
    assert result(folder)[1] == ("uninterpretable", "adjudicated")
    assert consensus.cells[1].cell.outline_px[0] == (293.0, 193.0)
    assert not consensus.cells[1].outdated
    assert consensus.status == "adjudicated"
    assert [reader.reader for reader in consensus.adjudicators] == ["cleo"]
    say(folder, "anna", [(cells[1], "artefact")])  # agrees now, but the adjudication stands and is known to be older
    assert result(folder)[1] == ("uninterpretable", "adjudicated")
    assert review(folder).cells[1].outdated


def test_two_adjudicators_who_differ_settle_nothing(slide):
    folder, cells = slide
    say(folder, "anna", [(cells[0], "tumour")])
    entry = replay(folder).reads[0].cells[cells[0].id].entry
    for adjudicator, word in (("cleo", "tumour"), ("dora", "artefact")):
        with open_log(folder, adjudicator, role="adjudication") as log:
            log.adjudicate(cells[0], word, [("anna", entry)])
    assert result(folder)[0] == ("", "unresolved")


def test_sign_off(slide):
    folder, cells = slide
    say(folder, "anna", [(cells[0], "tumour")])
    assert review(folder).status == "in_progress"
    say(folder, "anna", [], sign=True)
    consensus = review(folder)
    assert consensus.status == "signed_off"
    assert (consensus.readers[0].said, consensus.readers[0].candidates) == (1, 3)
    assert consensus.readers[0].signed
    with open_log(folder, "anna") as log:
        log.reopen("second look")
    assert review(folder).status == "in_progress"


def test_corrected_added_and_deleted_cells(slide):
    folder, cells = slide
    with open_log(folder, "anna") as log:
        log.give(cells[0], "tumour")
        log.correct(cells[0], square(100, 200, 9), nucleus_px=square(100, 200, 4))
        log.delete(cells[1])
        log.add(700, 700, square(700, 700), "tumour")
    consensus = review(folder)
    assert [cell.cell.id for cell in consensus.deleted] == [cells[1].id]
    assert [(cell.verdict, cell.basis, cell.added, cell.corrected) for cell in consensus.cells] == [
        ("tumour", "single", False, True),
        ("", "unread", False, False),
        ("tumour", "single", True, True),
    ]
    assert consensus.cells[0].cell.outline_px == ((91.0, 191.0), (109.0, 191.0), (100.0, 209.0), (91.0, 191.0))
    assert consensus.cells[0].nucleus_px[0] == (96.0, 196.0)
    assert consensus.counts == {"tumour": 2}
    say(folder, "ben", [(cells[1], "artefact")])
    assert [cell.cell.id for cell in review(folder).unresolved] == [cells[1].id]  # one says cell, one says none


@pytest.mark.parametrize("order", list(itertools.permutations(["anna", "ben", "cleo"])))
def test_one_cell_added_by_several_readers_counts_once(slide, order):
    folder, _ = slide
    for reader, shift in zip(order, (0, 5, 3), strict=True):
        with open_log(folder, reader) as log:
            log.add(700 + shift, 700, square(700 + shift, 700), "tumour")
            if reader == "ben":
                log.add(760, 700, square(760, 700), "probable")  # another cell, 30 µm away
    added = [cell for cell in review(folder).cells if cell.added]
    assert [(cell.verdict, cell.basis, len(cell.says)) for cell in added] == [
        ("tumour", "agreed", 3),
        ("probable", "single", 1),
    ]


def test_added_then_deleted_by_its_reader_speaks_against_nobody(slide):
    folder, _ = slide
    with open_log(folder, "anna") as log:
        (cell,) = added_cells(log.state, log.add(700, 700, square(700, 700), "tumour"))
        log.delete(cell)
    with open_log(folder, "ben") as log:
        log.add(700, 700, square(700, 700), "tumour")
    consensus = review(folder)
    assert consensus.counts == {"tumour": 1}
    assert not consensus.unresolved
    assert [cell.cell.id for cell in consensus.deleted] == [cell.id]


def test_a_verdict_on_a_cell_that_another_reader_added(slide):
    folder, _ = slide
    with open_log(folder, "anna") as log:
        (cell,) = added_cells(log.state, log.add(700, 700, square(700, 700), "tumour"))
    say(folder, "ben", [(cell, "tumour")])
    assert result(folder)[-1] == ("tumour", "agreed")
    assert review(folder).unattached == ()


def test_split_counts_its_parts_where_the_whole_does_not_count(slide):
    folder, cells = slide
    with open_log(folder, "anna") as log:
        parts = [new_cell(90, 200, square(90, 200, 9)), new_cell(110, 200, square(110, 200, 9))]
        log.split(cells[0], [(part, "tumour") for part in parts])
    assert review(folder).counts == {"tumour": 2}
    say(folder, "ben", [(cells[0], "tumour")])
    assert review(folder).counts == {}
    assert len(review(folder).unresolved) == 3
    says = review(folder).unresolved[0].says
    for decision, count, bases in (("tumour", 1, {"superseded"}), (NOT_AN_OBJECT, 2, {"single"})):
        with open_log(folder, "cleo", role="adjudication") as log:
            log.adjudicate(cells[0], decision, [(word.reader, word.entry) for word in says])
        assert review(folder).counts == {"tumour": count}
        assert {cell.basis for cell in review(folder).cells if cell.added} == bases


def test_seeded_and_audit_cells_are_reported_and_never_counted(slide):
    folder, cells = slide
    seeded = CellRef("seed-1", 0, 0, mark="seeded")
    audit = CellRef("nucleus-9", 100, 200, mark="audit")  # right on a candidate
    say(folder, "anna", [(seeded, "tumour"), (audit, "tumour"), (cells[1], "artefact")])
    consensus = review(folder)
    assert consensus.counts == {"artefact": 1}
    assert [(other.reader, other.state.cell.id, other.state.say) for other in consensus.seeded] == [
        ("anna", "seed-1", "tumour")
    ]
    assert [other.state.cell.id for other in consensus.audit] == ["nucleus-9"]
    assert consensus.unattached == ()


def test_scored_again_verdicts_find_their_cells(tmp_path):
    folder, old = score(tmp_path)
    say(folder, "anna", zip(old, ("tumour", "probable", "artefact"), strict=True), sign=True)
    # 4 px = 2 µm away; 30 px = 15 µm away, though outlines (radius 20 px) share little; the third is found no more
    _, new = score(tmp_path, [(104, 200), (330, 200), (900, 900)], OTHER_WEIGHTS)
    consensus = review(folder)
    assert [(cell.cell.id, cell.verdict) for cell in consensus.cells] == [
        (new[0].id, "tumour"),
        (new[1].id, ""),
        (new[2].id, ""),
    ]
    assert [(other.state.verdict, other.said_since) for other in consensus.unattached] == [
        ("probable", ""),
        ("artefact", ""),
    ]
    assert consensus.status == "in_progress"
    assert consensus.readers[0].scored_again
    with open_log(folder, "anna") as log:
        log.reopen("scored again")
        entry = log.give(new[1], "haematopoietic")
    assert entry.values["weights"] == "0" * 64
    assert review(folder).counts == {"tumour": 1, "haematopoietic": 1}


def test_scored_again_finds_the_cell_that_was_added(tmp_path):
    folder, _ = score(tmp_path)
    with open_log(folder, "anna") as log:
        log.add(700, 700, square(700, 700), "tumour")
        log.add(103, 200, square(103, 200), "tumour")  # beside a candidate that she saw: another cell
    assert review(folder).counts == {"tumour": 2}
    assert len(review(folder).cells) == 5
    _, new = score(tmp_path, [(100, 200), (300, 200), (704, 700)], OTHER_WEIGHTS)
    found = {cell.cell.id: cell.verdict for cell in review(folder).cells}
    assert found == {new[0].id: "tumour", new[1].id: "", new[2].id: "tumour"}


def test_old_and_new_words_meet_on_one_cell(tmp_path):
    folder, old = score(tmp_path)
    say(folder, "anna", [(old[0], "tumour")])
    _, new = score(tmp_path, [(104, 200)], OTHER_WEIGHTS)
    say(folder, "ben", [(new[0], "tumour")])
    assert result(folder) == [("tumour", "agreed")]
    say(folder, "anna", [(new[0], "artefact")])  # her new word stands, the old one is listed
    consensus = review(folder)
    assert [cell.basis for cell in consensus.cells] == ["unresolved"]
    assert [(other.state.verdict, other.said_since) for other in consensus.unattached] == [("tumour", new[0].id)]


def test_nearest_pairs_first():
    cells = [CellRef("a", 0, 0), CellRef("b", 8, 0)]
    targets = [CellRef("x", 6, 0), CellRef("y", -9, 0), CellRef("z", 100, 0)]
    assert match(cells, targets, 0.5) == {"b": "x", "a": "y"}
    assert match(cells, targets, 0.5, {"x", "y"}) == {}
    assert match(cells, [], 0.5) == {}
    big = CellRef("big", 100, 100, ring_of(square(100, 100, 30)))
    inside = CellRef("inside", 112, 90, ring_of(square(112, 90, 5)))
    assert match([big], [inside], 1.0) == {"big": "inside"}  # by outline, 15 µm apart
