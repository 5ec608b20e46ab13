"""Seeded cells and the audit: drawn the same every time, reported, and never counted."""

from __future__ import annotations

import numpy as np
import pytest
from making_review import opened, say, write_slide

from dtcseg.errors import NotPossible, UsageError
from dtcseg.report.counts import counts_of
from dtcseg.review.session import ReviewSession
from dtcseg.review.slides import open_results
from dtcseg.review.vigilance import audit_nuclei, extra_items, seed_cells
from dtcseg.verdicts import review, verify


def known(tmp_path):
    """Slide a, to be read, and slide b, on which two readers agree on two tumour cells of three."""
    results = opened(tmp_path, a=3, b=3)
    for reader in ("xa", "xb"):
        say(tmp_path / "out" / "b", reader, "tth")
    return results


def test_seeded_cells_are_the_agreed_tumour_cells_of_another_slide(tmp_path):
    results = known(tmp_path)
    seeds = seed_cells(results, "a", "anna", 5)
    assert {seed.cell.source for seed in seeds} == {f"b/{item.id}" for item in results.slides["b"].items[:2]}
    assert seeds == seed_cells(results, "a", "Anna", 5), "the same reader gets the same cells"
    for seed in seeds:
        assert (seed.slide, seed.home, seed.cell.mark) == ("a", "b", "seeded")
        home = np.asarray(results.slides["b"].items[0].cell.outline_px) - results.slides["b"].items[0].home_px
        here = np.asarray(seed.cell.outline_px) - (seed.cell.x_px, seed.cell.y_px)
        np.testing.assert_allclose(np.ptp(here, axis=0), np.ptp(home, axis=0), atol=0.05)
        assert seed.measured["diameter_um"] == 20.0


def test_without_known_cells_seeding_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no known tumour cells"):
        extra_items(opened(tmp_path, a=3, b=3), "anna", seeded=2, audit=0)


def test_an_audit_draws_nuclei_far_from_candidates(tmp_path):
    slide = opened(tmp_path, a=3).slides["a"]
    drawn = audit_nuclei(slide, "anna", 20)
    assert len({item.id for item in drawn}) == 20
    places = np.array([(item.cell.x_px, item.cell.y_px) for item in drawn])
    for item in slide.items:
        assert (np.hypot(*(places - item.home_px).T) * 0.5 > 15).all()
    assert drawn == audit_nuclei(slide, "anna", 20)
    assert drawn != audit_nuclei(slide, "bo", 20), "readers together see more"


def test_both_are_read_like_cells_reported_and_never_counted(tmp_path):
    results = known(tmp_path)
    extra = extra_items(results, "anna", seeded=2, audit=3)
    session = ReviewSession(results, "anna", extra=[item for item in extra if item.slide == "a"])
    assert len(session.items_on("a")) == 3 + 2 + 3
    for item in session.items_on("a"):
        session.go_to(item.id)
        session.give("tumour" if item.cell.mark != "audit" else "haematopoietic")
    session.go_to(next(item.id for item in session.items_on("a") if item.seeded))
    with pytest.raises(NotPossible, match="outline of this cell cannot be changed"):
        session.propose_split([(0, 0), (1, 1)])
    state = {item.id: session.say_of(item.id) for item in session.items_on("a")}
    session.close()
    found = review(tmp_path / "out" / "a")
    assert found.counts == {"tumour": 3}
    counts = counts_of(found)
    assert (counts.tumour, counts.seeded, counts.audited) == (3, (2, 2), (0, 3))
    assert verify(tmp_path / "out").sound
    again = ReviewSession(open_results(tmp_path / "out"), "anna")
    assert {item.id: again.say_of(item.id) for item in again.items_on("a")} == state
    assert {item.home for item in again.items_on("a") if item.seeded} == {"b"}


def test_a_seeded_cell_whose_slide_has_gone_keeps_its_word(tmp_path):
    results = known(tmp_path)
    (seed, *_) = seed_cells(results, "a", "anna", 1)
    session = ReviewSession(results, "anna", extra=[seed])
    session.go_to(seed.id)
    session.give("artefact")
    session.close()
    (tmp_path / "out" / "b" / "slide.json").unlink()
    again = ReviewSession(open_results(tmp_path / "out"), "anna")
    assert again.say_of(seed.id) == "artefact"


def test_slides_of_another_stain_seed_nothing(tmp_path):
    results = known(tmp_path)
    record = (tmp_path / "out" / "b" / "slide.json").read_text().replace("new_fuchsin", "dab")
    (tmp_path / "out" / "b" / "slide.json").write_text(record)
    results = open_results(tmp_path / "out")
    with pytest.raises(UsageError, match="no known tumour cells"):
        seed_cells(results, "a", "anna", 1)
    write_slide(tmp_path, "c", 2)
