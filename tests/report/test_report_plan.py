"""Tests of the advice on depth."""

from typer.testing import CliRunner

from dtcseg.cli import app
from dtcseg.report.plan import advice
from dtcseg.trial.adviser import power


def test_three_million_cells_exclude_one_in_a_million():
    first, last = advice(1.0)
    assert "2 995 732 cells, 6 slides" in first
    assert last == "Research use only."


def test_a_fall_is_seen_with_the_power_promised():
    lines = advice(5.0, reduction=0.8)
    cells = float(lines[1].split(": ")[1].split(" cells")[0].replace(" ", ""))
    assert power(5.0, 0.2, cells, cells) >= 0.8
    assert power(5.0, 0.2, 0.8 * cells, 0.8 * cells) < 0.8


def test_too_little_at_the_start_is_said():
    assert "no depth suffices" in advice(1.0, reduction=0.8, screened=5e5)[1]


def test_command():
    answer = CliRunner().invoke(app, ["advise", "--rate", "5", "--reduction", "0.8"])
    assert answer.exit_code == 0
    assert "To see a fall by 80 % from 5.00 per 10^6" in answer.output
