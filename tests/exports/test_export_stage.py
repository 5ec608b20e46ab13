"""Places on the stage: the map of two marks, and the table."""

import csv
import io
import math

import numpy as np
import pytest
from export_makers import some_cells
from hypothesis import given
from hypothesis import strategies as st

from dtcseg.errors import UsageError
from dtcseg.exports.command import export_results
from dtcseg.exports.slides import read_slide
from dtcseg.exports.stage import Mark, Similarity, fit_marks, parse_mark, scale_doubt, similarity, stage_csv


def rows(content):
    return list(csv.DictReader(io.StringIO(content.decode())))


def test_cells_come_back(results):
    export_results(results.root, ["stage"])
    for name, cells in results.cells.items():
        found = rows((results.root / name / "stage.csv").read_bytes())
        assert [row["cell_id"] for row in found] == [str(number) for number in range(1, len(cells) + 1)]
        for row, cell in zip(found, cells, strict=True):
            assert (float(row["x_px"]), float(row["y_px"]), row["call"]) == (cell.x_px, cell.y_px, cell.call)
            assert float(row["x_um"]) == pytest.approx((cell.x_px + 0.5) * 0.5, abs=0.006)
            assert float(row["y_um"]) == pytest.approx((cell.y_px + 0.5) * 0.5, abs=0.006)
            assert (row["stage_x_um"], row["stage_y_um"]) == ("", "")


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0.0, 1.5, 90.0, -137.0])
def test_marks_turn_shift_scale_and_mirror(results, mirrored, degrees):
    turn = math.radians(degrees)
    matrix = 0.5 * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    if mirrored:
        matrix = matrix @ np.diag([1, -1])
    shift = np.array([51_234.5, -7_000.25])

    def truth(x, y):
        return matrix @ (x, y) + shift

    marks = [Mark(x, y, *truth(x, y)) for x, y in ((120.0, 80.0), (39_000.0, 28_500.0))]
    fit = similarity(*marks, mirrored=mirrored)
    assert fit.scale_um == pytest.approx(0.5)
    slide = read_slide(results.root / "a")
    assert scale_doubt(slide, fit) == ""
    for row, cell in zip(rows(stage_csv(slide, fit=fit)), results.cells["a"], strict=True):
        place = (float(row["stage_x_um"]), float(row["stage_y_um"]))
        assert place == pytest.approx(tuple(truth(cell.x_px, cell.y_px)), abs=0.01)


number = st.floats(-1e5, 1e5)


@given(number, number, number, number, st.floats(0.05, 2.0), st.floats(-4, 4), st.booleans())
def test_any_similarity_comes_back(x, y, x_um, y_um, scale, angle, mirrored):
    truth = Similarity(scale * complex(math.cos(angle), math.sin(angle)), complex(x_um, y_um), mirrored)
    marks = [Mark(*place, *truth.to_stage(*place)) for place in ((x, y), (x + 3000, y - 2000))]
    fit = similarity(*marks, mirrored=mirrored)
    assert fit.to_stage(1234.0, -987.0) == pytest.approx(truth.to_stage(1234.0, -987.0), abs=1e-2)


def test_calls_of_a_reader_take_the_place(results):
    slide = read_slide(results.root / "a")
    found = rows(stage_csv(slide, {2: "tumour"}))
    assert [row["call"] for row in found[:3]] == ["tumour", "tumour", "haematopoietic"]


def test_command_takes_marks_for_one_slide(results):
    fit = fit_marks(["0,0=1000,2000", "1000,0=1000,2500"])
    assert fit is not None
    with pytest.raises(UsageError, match="--slide"):
        export_results(results.root, ["stage"], fit=fit)
    done = export_results(results.root, ["stage"], fit=fit, names=["a"])
    assert (len(done.written), done.problems, done.notes) == (1, (), ())
    cell = results.cells["a"][0]
    row = rows(done.written[0].read_bytes())[0]
    assert float(row["stage_x_um"]) == pytest.approx(1000 - 0.5 * cell.y_px, abs=0.01)
    assert float(row["stage_y_um"]) == pytest.approx(2000 + 0.5 * cell.x_px, abs=0.01)


def test_marks_that_disagree_with_the_slide_are_noted(results):
    fit = fit_marks(["0,0=1,2", "39000,0=20.5,2"])  # millimetres
    done = export_results(results.root, ["stage"], fit=fit, names=["b"])
    assert (len(done.written), done.problems) == (1, ())
    assert done.notes == (
        "b: the marks say 0.0005 µm per pixel and the slide 0.5; check that they are level-0 pixels and µm",
    )


@pytest.mark.parametrize(
    "marks",
    [
        ["0,0=0,0"],
        ["0,0=0,0", "5,5=1,1", "9,9=2,2"],
        ["0,0=0,0", "0,0.5=100,100"],
        ["0,0=100,100", "5000,5000=100,100.5"],
        ["-1e308,0=0,0", "1e308,0=1,1"],
        ["0,0=-1e308,0", "5,0=1e308,1"],
    ],
)
def test_marks_that_define_nothing(marks):
    with pytest.raises(UsageError):
        fit_marks(marks)


@pytest.mark.parametrize("text", ["", "1,2", "1,2=3", "1,2=3,4,5", "a,2=3,4", "1,2=nan,4", "1,2=inf,4", "1;2=3;4"])
def test_marks_that_cannot_be_read(text):
    with pytest.raises(UsageError, match="X_PX,Y_PX=X_UM,Y_UM"):
        parse_mark(text)


def test_mirrored_without_marks():
    assert fit_marks([]) is None
    with pytest.raises(UsageError, match="--mark"):
        fit_marks([], mirrored=True)


def test_a_small_slide_far_from_the_corner(make_results):
    made = make_results({"one": some_cells(1, 3)}, mpp_um=0.2271)
    row = rows(stage_csv(read_slide(made.root / "one")))[0]
    assert float(row["x_um"]) == pytest.approx((made.cells["one"][0].x_px + 0.5) * 0.2271, abs=0.006)
