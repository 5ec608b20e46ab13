"""What a person sees of a run: a table on a terminal, lines elsewhere."""

import io

from rich.console import Console

from dtcseg import progress
from dtcseg.board import Board, duration
from dtcseg.progress import Reporter, chosen_lines


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_table_on_a_terminal_only(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe):
        with Reporter(stream) as reporter:
            reporter.waiting("b")
            reporter.started("[bold]a[/bold]\x1b[31m", "process 1")
            reporter.moved("[bold]a[/bold]\x1b[31m", 0.5)
            reporter.moved("never begun", 0.5)
            reporter.finished("[bold]a[/bold]\x1b[31m", "500 cells", 61.0)
            reporter.finished("known", "501 cells")
            reporter.started("b", "process 1")
            reporter.failed("b", "b.tif", "cut\noff [red]here")
    assert pipe.getvalue() == (
        r"[bold]a[/bold]\x1b[31m: 500 cells in 1 min [1 waiting, 1 done]"
        "\n"
        r"b.tif: cut\noff [red]here"
        "\n"
    )
    shown = terminal.getvalue()
    assert r"b.tif: cut\noff [red]here" in shown
    assert "\x1b[31m" not in shown
    assert "2 done, 1 failed" in shown


def drawn(board, width=90, height=20):
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(Reporter(io.StringIO(), board))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_table_shows_states_reasons_and_time_left():
    now = 0.0
    board = Board(clock=lambda: now)
    for name in ("a", "b", "c", "d", "e"):
        board.put(name, "waiting")
    board.put("a", "done", "500 000 cells, 2 tumour", seconds=40.0)
    board.put("b", "failed", "the file is cut off; copy it again")
    board.put("c", "scoring", "process 1")
    board.put("d", "waiting", "once more later: no progress")
    now = 10.0
    board.move("c", 0.25)
    lines = [line.split() for line in drawn(board)]
    assert lines[0] == ["slide", "state", "time"]
    assert lines[1][:5] == ["c", "scoring", "30", "s", "left"]
    assert lines[1][-2:] == ["process", "1"]
    assert " ".join(lines[2]) == "b failed the file is cut off; copy it again"
    assert " ".join(lines[3]) == "a done in 40 s 500 000 cells, 2 tumour"
    assert " ".join(lines[4]) == "d waiting once more later: no progress"
    assert " ".join(lines[5]) == "e waiting"
    assert " ".join(lines[6]) == "2 waiting, 1 scoring, 1 done, 1 failed; about 2 min left"


def test_table_fits_the_terminal_however_many_slides():
    board = Board(clock=lambda: 0.0)
    for number in range(800):
        board.put(f"slide number {number} of a name that is much too long", "waiting")
    for number in range(0, 300, 2):
        board.put(f"{number}", ("done", "failed", "scoring")[number % 3], "x" * 200)
    for height in (8, 24):
        lines = drawn(board, 80, height)
        assert len(lines) < height
        assert max(map(len, lines)) <= 80
    assert {line.state for line in chosen_lines(board, 100)} == {"scoring", "done", "failed", "waiting"}


def test_times_as_people_say_them():
    assert [duration(s) for s in (0.4, 59, 60, 3599, 3600, 7500)] == [
        "0 s",
        "59 s",
        "1 min",
        "1 h 00 min",
        "1 h 00 min",
        "2 h 05 min",
    ]


def test_board_says_what_is_left():
    now = 100.0
    board = Board(clock=lambda: now)
    for name in ("a", "b", "c", "d"):
        board.put(name, "waiting")
    assert board.left_s() is None
    board.put("a", "scoring", "w1")
    board.put("b", "scoring", "w2")
    now = 110.0
    board.move("a", 0.5)
    board.move("b", 0.25)
    board.move("c", 0.5)  # not begun
    assert [board.slide_left_s(line) for line in board.lines("scoring")] == [10.0, 30.0]
    assert board.left_s() == (10 + 30 + 2 * 40) / 2
    board.put("a", "done", "found", seconds=20.0)
    assert board.left_s() == 30 + 2 * 20
    assert board.counts() == {"waiting": 2, "scoring": 1, "done": 1, "failed": 0}


def test_names_longer_than_the_bar_are_cut_in_the_middle():
    assert progress.short("abcdefghij", 7) == "abc…hij"
    assert progress.short("a\nb", 7) == r"a\nb"


def test_a_stream_that_knows_few_letters():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    progress.Reporter(stream).failed("Köln", "Köln.tif", "weg")
    assert stream.buffer.getvalue() == b"K?ln.tif: weg\n"
