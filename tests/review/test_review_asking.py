"""Which cells are asked about next, and when enough is said."""

import csv

import numpy as np
import pytest
from fake_results import INFO
from fake_scoring import WEIGHTS, candidate, slide_score
from making_review import say
from typer.testing import CliRunner

from dtcseg.cli import app
from dtcseg.config import SlideJob
from dtcseg.errors import UsageError
from dtcseg.results.folder import ResultsFolder
from dtcseg.results.record import make_record, resume_key
from dtcseg.review.ask_results import ask_results
from dtcseg.review.asking import Answer, ask, ask_items, doubt, enough, features
from dtcseg.review.session import ReviewSession
from dtcseg.review.slides import open_results

NONE = np.zeros(0, bool)


def test_doubt_is_greatest_at_a_half_and_never_gone():
    values = doubt([0.5, 0.9, 0.1, 0.0, 1.0])
    assert values[0] == pytest.approx(1)
    assert values[1] == pytest.approx(values[2])
    assert values[3] == pytest.approx(values[4])
    assert 0 < values[3] < values[1]


def test_measures_are_comparable_whatever_their_units():
    small = [{"diameter_um": 10.0 + k, "ck_od": 0.1 * (k + 1)} for k in range(9)]
    large = [{name: 1000 * value for name, value in one.items()} for one in small]
    scores = np.linspace(0.1, 0.9, 9)
    assert features(scores, small) == pytest.approx(features(scores, large))
    table = features([0.5, 0.5], [{"diameter_um": 10.0}, {"ck_od": float("nan")}])
    assert np.isfinite(table).all()


def groups(per=30):
    """Three kinds of cells, the first by far the most doubtful."""
    rng = np.random.default_rng(3)
    centres = np.repeat([[0, 0], [10, 0], [0, 10]], per, axis=0)
    scores = np.repeat([0.5, 0.7, 0.8], per)
    return centres + rng.normal(0, 0.1, centres.shape), scores, np.repeat([0, 1, 2], per)


def test_asked_cells_are_not_of_one_kind():
    table, scores, kind = groups()
    chosen = [one.index for one in ask(table, scores, ["a"] * len(scores), np.zeros(len(scores), bool), 6)]
    assert len(set(chosen)) == 6
    assert set(kind[chosen[:3]]) == {0, 1, 2}
    by_doubt = np.argsort(np.abs(scores - 0.5), kind="stable")[:6]
    assert set(kind[by_doubt]) == {0}, "doubt alone would ask for one kind"


def test_what_is_like_cells_that_were_read_is_asked_last():
    table, scores, kind = groups()
    read = (kind == 0) & (np.arange(len(kind)) < 5)
    chosen = [one.index for one in ask(table, scores, ["a"] * len(scores), read, 2)]
    assert set(kind[chosen]) == {1, 2}
    assert not read[chosen].any()


def test_cells_come_from_many_slides():
    table = np.random.default_rng(1).normal(size=(200, 3))
    slides = [f"s{k // 20}" for k in range(200)]
    chosen = [slides[one.index] for one in ask(table, [0.5] * 200, slides, np.zeros(200, bool), 20)]
    counts = [chosen.count(name) for name in set(slides)]
    assert min(counts) >= 1
    assert max(counts) <= 4


def test_the_same_cells_are_asked_again_and_never_more_than_there_are():
    table, scores, _ = groups(3)
    read = np.zeros(9, bool)
    first = ask(table, scores, ["a"] * 9, read, 50)
    assert first == ask(table, scores, ["a"] * 9, read, 50)
    assert sorted(one.index for one in first) == list(range(9))
    assert ask(table, scores, ["a"] * 9, ~read) == []
    assert ask(np.zeros((0, 3)), [], [], NONE) == []


def answers(changed, same):
    return [Answer(k < changed, f"2026-01-01T00:{k:02d}") for k in range(changed + same)]


def test_enough_is_the_exact_limit_of_what_readers_still_change():
    assert not enough(answers(0, 35), 9).enough
    assert enough(answers(0, 36), 9).enough
    assert not enough(answers(1, 52), 9).enough
    assert enough(answers(1, 53), 9).enough
    assert enough(answers(40, 60), 9).enough, "only the last 60 count"
    assert "changed 0 of the last 36" in enough(answers(0, 36), 9).text
    assert not enough([], 3).enough
    assert "no doubtful cell is left" in enough([], 0).text


def write(root, name, scores):
    (root / "slides").mkdir(exist_ok=True)
    path = root / "slides" / f"{name}.tif"
    path.write_bytes(b"pixels")
    job = SlideJob(name=name, files=(path,))
    rng = np.random.default_rng(len(name))
    cells = [
        candidate(
            x_px=200.0 * (k + 1),
            y_px=300.0,
            score=score,
            call="tumour" if score >= 0.5 else "haematopoietic",
            ck_od=float(rng.uniform(0.1, 0.8)),
            diameter_um=float(rng.uniform(10, 25)),
        )
        for k, score in enumerate(sorted(scores, reverse=True))
    ]
    scored = slide_score(cells)
    record = make_record(job, scored, key=resume_key(job, WEIGHTS), weights=WEIGHTS, program="0", seconds=1.0)
    with ResultsFolder(root / "out") as folder:
        folder.write_slide(job, scored, record)
        folder.write_summaries(INFO, last=True)
    return root / "out" / name


def test_results_are_asked_about_and_answers_are_heard(tmp_path):
    scores = [round(float(s), 3) for s in np.linspace(0.06, 0.94, 40)]
    write(tmp_path, "a", scores)
    write(tmp_path, "bb", [0.001, 0.999])
    found = ask_results([tmp_path / "out", tmp_path / "out"], 20)
    assert len(found.cells) == len({item.id for _, item in found.cells}) == 20
    assert set(found.slides) == {"out/a", "out/bb"}
    assert not found.enough.enough
    say(tmp_path / "out" / "a", "Anna", "t" * 20 + "h" * 20)
    after = ask_results([tmp_path / "out"], 20)
    assert after.read == 40
    assert [item.slide for _, item in after.cells] == ["bb", "bb"]
    assert after.enough.enough
    assert "changed 0 of the last 40" in after.enough.text
    with pytest.raises(UsageError, match="no results folder"):
        ask_results([tmp_path])


def test_the_command_writes_the_list(tmp_path):
    write(tmp_path, "=a", [0.2, 0.4, 0.6])
    out = tmp_path / "list.csv"
    result = CliRunner().invoke(app, ["ask", str(tmp_path / "out"), "--count", "2", "--out", str(out)])
    assert "0 cells are read; more helps" in result.output
    assert "out/=a: 2 cells" in result.output
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert rows[0]["slide"] == "'=a"


def test_the_review_shows_them_first_and_then_the_rest(tmp_path):
    write(tmp_path, "a", [round(float(s), 3) for s in np.linspace(0.02, 0.98, 70)])
    opened = open_results(tmp_path / "out")
    items = list(opened.slides["a"].items)
    session = ReviewSession(opened, "Anna")
    session.arrange("teaching")
    asked = [item.id for item in ask_items(sorted(items, key=lambda item: abs(item.cell.score - 0.5)), set())]
    assert session.queue[: len(asked)] == asked
    assert sorted(session.queue) == sorted(item.id for item in items)
    session.give("tumour")
    blind = ReviewSession(opened, "Bea", calls=False)
    blind.arrange("teaching")
    assert blind.order == "place"
