"""Time points in order, or a clear word why not."""

import pytest

from dtcseg.report.timepoints import make_order


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["C12", "C3", "baseline", "+6 mo", "C6"], ["baseline", "C3", "C6", "C12", "+6 mo"]),
        (["1 year", "6 months", "screening", "2 weeks"], ["screening", "2 weeks", "6 months", "1 year"]),
        (["month 12", "month 3", "month 0"], ["month 0", "month 3", "month 12"]),
        (["BM2", "BM1"], ["BM1", "BM2"]),
        (["10", "9", "0"], ["0", "9", "10"]),
        (["2024-11-02", "2024-03-15"], ["2024-03-15", "2024-11-02"]),
        (["+12 mo", "+6 mo", "cycle 3"], ["cycle 3", "+6 mo", "+12 mo"]),
        (["Baseline", "C1,5", "c1"], ["Baseline", "c1", "C1,5"]),
        ([""], [""]),
        (["surgery"], ["surgery"]),
    ],
)
def test_names_say_the_order(names, ordered):
    order = make_order(names)
    assert list(order.names) == ordered
    assert order.unknown == frozenset()
    assert order.warnings == ()


def test_name_without_a_place_is_compared_with_nothing():
    order = make_order(["surgery", "C3", "baseline"])
    assert order.names == ("baseline", "C3", "surgery")
    assert order.unknown == {"surgery"}
    (warning,) = order.warnings
    assert "'surgery'" in warning
    assert "timepoints.csv (timepoint, order)" in warning


def test_units_that_cannot_be_compared():
    order = make_order(["C3", "month 6", "baseline"])
    assert order.unknown == {"C3", "month 6"}
    assert "'C3', 'month 6' are counted in different ways" in order.warnings[0]


def test_two_spellings_of_one_time_point():
    (warning,) = make_order(["C3", "c 3", "baseline"]).warnings
    assert "'C3', 'c 3' seem to be the same" in warning


def test_table_counts_before_names():
    order = make_order(["surgery", "C3", "before surgery"], {"before surgery": 1, "surgery": 2, "C3": 3})
    assert order.names == ("before surgery", "surgery", "C3")
    assert not order.unknown
    assert not order.warnings


def test_table_against_the_names_is_said():
    (warning,) = make_order(["C3", "C6"], {"C6": 1, "C3": 2}).warnings
    assert warning.startswith("timepoints.csv puts 'C6' before 'C3', their names say otherwise")


def test_table_with_gaps_and_ties():
    order = make_order(["C3", "C6", "C12"], {"C3": 1, "C6": 1})
    assert order.unknown == {"C3", "C6", "C12"}
    assert "'C12' is not in timepoints.csv" in order.warnings[0]
    assert "gives 'C3', 'C6' the same place" in order.warnings[1]


def test_control_characters_of_a_name_steer_no_terminal():
    assert "\x1b" not in " ".join(make_order(["a\x1b[31m", "b"]).warnings)
