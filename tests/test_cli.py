"""The command line: what it says, on which stream, and how it ends."""

import json
import re
import subprocess
import sys
from functools import partial

import fake_scoring
import pytest
from fake_scoring import WEIGHTS

from dtcseg import __version__, batch, cli
from dtcseg.cells import STAINS
from dtcseg.results.atomic import DiskFull
from dtcseg.workers import LocalPool

find_weights = batch._find_weights
HEAVY = ["torch", "numpy", "scipy", "pyarrow", "shapely", "jinja2", "distributed", "napari", "qtpy", "tifffile"]


@pytest.fixture
def dtcseg(monkeypatch, capsys):
    """Run the command line in this process, with a scorer that follows the names of the slides."""
    monkeypatch.setattr(batch, "_find_weights", lambda model: WEIGHTS)
    monkeypatch.setattr(batch, "score_jobs", partial(batch.score_jobs, scorer=fake_scoring.score))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["dtcseg", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return end.value.code, out, err.splitlines()

    return run


@pytest.fixture
def slides(tmp_path):
    def make(*names):
        folder = tmp_path / "slides"
        folder.mkdir(exist_ok=True)
        for name in names:
            (folder / f"{name}.tif").write_bytes(b"pixels")
        return folder

    return make


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["score", "--help"],
        ["-h"],
        ["--version"],
        ["info", "--help"],
        ["export", "--help"],
        ["review", "--help"],
    ],
)
def test_help_loads_nothing_heavy(arguments):
    script = (
        f"import sys; sys.argv = ['dtcseg', *{arguments!r}]\n"
        "from dtcseg.cli import main\n"
        "try: main()\n"
        f"finally: print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr == "[]\n"
    assert "dtcseg" in done.stdout


def test_commands_that_are_there_work(dtcseg):
    status, out, _ = dtcseg("--help")
    assert status == 0
    listed = out.partition("Commands:")[2].split("\n")
    commands = [line.split()[0] for line in listed if line.strip()]
    assert {"score", "report", "simulate", "info"} <= set(commands)
    for command in commands:
        assert dtcseg(command, "--help")[0] == 0


def test_version(dtcseg):
    assert dtcseg("--version") == (0, f"dtcseg {__version__}\n", [])


def test_stains_are_those_of_the_library():
    assert tuple(name.value for name in cli.StainName) == STAINS


def test_score_all_done(dtcseg, slides, tmp_path):
    out = tmp_path / "results"
    status, said, errors = dtcseg("score", slides("a", "b"), "--out", out)
    assert status == 0
    assert [re.sub(r" in .*", "", line) for line in errors] == [
        "a: 500 000 cells, 2 tumour",
        "b: 500 000 cells, 2 tumour",
    ]
    assert said.splitlines()[0].split() == ["slide", "cells", "DTC", "DTC", "per", "10^6", "(95", "%)", "qc"]
    assert "2 slides done. Research use only.\n" in said
    assert said.endswith(f"{out}/report.html\n")
    assert json.loads((out / "run.json").read_text())["settings"]["stain"] is None


def test_counting_otherwise_scores_again(dtcseg, slides, tmp_path):
    out, inputs = tmp_path / "out", slides("a")
    assert dtcseg("score", inputs, "--out", out, "--count", "sampled")[0] == 0
    assert json.loads((out / "run.json").read_text())["settings"]["count"] == "sampled"
    assert not any("cells" in line for line in dtcseg("score", inputs, "--out", out, "--count", "sampled")[2])
    assert any(line.startswith("a: 500 000 cells") for line in dtcseg("score", inputs, "--out", out)[2])
    assert json.loads((out / "run.json").read_text())["settings"]["count"] == "all"
    assert dtcseg("score", inputs, "--out", out, "--count", "some")[0] == 2


def test_score_some_failed(dtcseg, slides, tmp_path):
    status, said, errors = dtcseg("score", slides("a", "bad"), "--out", tmp_path / "out", "--stain", "dab")
    assert status == 1
    assert errors[-1] == "bad.tif: the file is cut off; copy it again"
    assert "1 slide done, 1 failed." in said
    assert json.loads((tmp_path / "out" / "run.json").read_text())["settings"]["stain"] == "dab"


def test_score_and_report_again(dtcseg, slides, tmp_path):
    out = tmp_path / "out"
    dtcseg("score", slides("a"), "--out", out)
    first = (out / "report.html").read_bytes()
    (out / "report.html").unlink()
    assert dtcseg("report", out) == (0, f"{out}/report.html\n", [])
    assert (out / "report.html").read_bytes() == first


def test_report_takes_tables_and_says_what_is_amiss(dtcseg, slides, tmp_path):
    out, table = tmp_path / "out", tmp_path / "blood.csv"
    dtcseg("score", slides("a"), "--out", out)
    table.write_text("patient,assay,value\nP9,ctDNA,1\n")
    status, said, errors = dtcseg("report", out, "--assays", table)
    assert (status, said) == (0, f"{out}/report.html\n")
    assert errors == [f"dtcseg: {table}, row 2: patient 'P9' has no slide here; the row is left out"]
    status, _, errors = dtcseg("report", out, "--arms", tmp_path / "none.csv")
    assert status == 2
    assert errors == [f"dtcseg: {tmp_path}/none.csv: No such file or directory"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing command"),
        (["scor"], "No such command 'scor'"),
        (["score"], "Missing argument"),
        (["score", "{slides}"], "Missing option '--out'"),
        (["score", "{slides}", "--out", "{out}", "--stain", "blue"], "blue"),
        (["score", "{slides}", "--out", "{out}", "--mpp", "wide"], "--mpp"),
        (["score", "{slides}", "--out", "{out}", "--mpp", "0"], "--mpp"),
        (["score", "{slides}", "--out", "{out}", "--workers", "0"], "--workers"),
        (["score", "{slides}", "--out", "{out}", "--colour"], "--colour"),
        (["score", "{slides}/none.tif", "--out", "{out}"], "no such file"),
        (["score", "{empty}", "--out", "{out}"], "holds no slide"),
        (["score", "{slides}", "--out", "{slides}/a.tif"], "is a file; give --out a folder"),
        (["score", "{slides}", "--out", "{slides}/a.tif/below"], "results cannot be written here (Not a directory)"),
        (["score", "{slides}", "--out", "{slides}"], "give --out a folder of its own"),
        (["report", "{empty}"], "is no results folder"),
        (["report", "{out}"], "is no results folder"),
        (["info", "{slides}/none.tif"], "does not exist"),
        (["simulate", "{slides}/a.tif"], "is a file"),
    ],
)
def test_unusable_arguments(dtcseg, slides, tmp_path, arguments, words):
    folder = slides("a")
    (tmp_path / "empty").mkdir()
    places = {"slides": folder, "out": tmp_path / "out", "empty": tmp_path / "empty"}
    status, said, errors = dtcseg(*(one.format(**places) for one in arguments))
    assert status == 2
    assert said == ""
    assert len(errors) == 1
    assert errors[0].startswith("dtcseg: ")
    assert words in errors[0]
    assert (folder / "a.tif").read_bytes() == b"pixels"


def test_weights_that_are_not_there(dtcseg, slides, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "_find_weights", find_weights)
    status, _, errors = dtcseg("score", slides("a"), "--out", tmp_path / "out", "--model", "none-of-ours")
    assert (status, len(errors)) == (2, 1)
    assert not (tmp_path / "out").exists()


def test_names_cannot_steer_the_terminal(dtcseg, slides, tmp_path):
    folder = slides("bad\x1b[31m\nname", "a\x1b]0;title\x07", "bad\udcff", "bad\u202e")
    status, said, errors = dtcseg("score", folder, "--out", tmp_path / "out\x1b[2J")
    assert status == 1
    assert len(errors) == 4
    assert not [char for char in said + "".join(errors) if ord(char) < 32 and char != "\n"]
    assert "\u202e" not in said + "".join(errors)
    status, _, errors = dtcseg("score", tmp_path / "no\nsuch\x1b[31m", "--out", tmp_path / "o")
    assert (status, len(errors)) == (2, 1)
    assert "\x1b" not in errors[0]


def test_disk_full_is_one_line(dtcseg, slides, tmp_path, monkeypatch):
    def full(*args):
        raise DiskFull("out: the disk is full; make room and run the same command again")

    monkeypatch.setattr("dtcseg.results.folder.ResultsFolder.write_slide", full)
    status, said, errors = dtcseg("score", slides("a"), "--out", tmp_path / "out")
    assert (status, said) == (1, "")
    assert errors == ["dtcseg: out: the disk is full; make room and run the same command again"]


def test_errors_of_the_system_are_one_line(dtcseg, tmp_path, monkeypatch):
    def fail(*args, **options):
        raise PermissionError(13, "Permission denied", "some\nfile")

    monkeypatch.setattr("dtcseg_training.simulate.simulate", fail)
    assert dtcseg("simulate", tmp_path / "x")[::2] == (1, [r"dtcseg: some\nfile: Permission denied"])


def test_interrupt(dtcseg, slides, tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalPool, "hear", interrupt)
    status, _, errors = dtcseg("score", slides("a"), "--out", tmp_path / "out")
    assert status == 130
    assert errors == ["interrupted; the same command goes on with what is missing"]
    monkeypatch.setattr(batch, "_find_weights", interrupt)
    assert dtcseg("score", slides("a"), "--out", tmp_path / "out")[0] == 130


def test_review_says_what_is_missing_before_a_window_opens(dtcseg, slides, tmp_path, monkeypatch):
    status, _, errors = dtcseg("review", tmp_path)
    assert status == 2
    assert "is no results folder of dtcseg; make one with `dtcseg score SLIDES --out RESULTS`" in errors[0]
    assert dtcseg("score", slides("a"), "--out", tmp_path / "out")[0] == 0
    if sys.platform == "linux":
        monkeypatch.delenv("DISPLAY", raising=False)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        status, _, errors = dtcseg("review", tmp_path / "out")
        assert (status, len(errors)) == (2, 1)
        assert "there is no screen here" in errors[0]


def test_simulate_and_info(dtcseg, tmp_path):
    out = tmp_path / "simulated"
    assert dtcseg("simulate", out, "--stain", "dab", "--width-mm", "0.1") == (0, f"{out}/slides.csv\n", [])
    (slide,) = out.glob("*.tif")
    status, said, _ = dtcseg("info", slide)
    assert status == 0
    assert "0.5 µm" in said
    (out / "text.svs").write_text("no slide")
    status, said, errors = dtcseg("info", out / "text.svs")
    assert (status, said, len(errors)) == (1, "", 1)


def test_watch_and_limit_are_passed_on(dtcseg, slides, tmp_path, monkeypatch):
    asked = []

    def watch(inputs, config, **more):
        asked.append((inputs, config.limit_s, config.workers, more))
        return batch.RunResult(0, ())

    monkeypatch.setattr(batch, "watch_folders", watch)
    folder = slides()
    status, _, _ = dtcseg(
        "score", folder, "--out", tmp_path / "o", "--watch", "--limit", "1.5", "--workers", "3", "--stain", "dab"
    )
    assert status == 0
    assert asked == [([folder], 90.0, 3, {"stain": "dab", "mpp_um": None})]
    status, _, errors = dtcseg("score", slides("a"), "--out", tmp_path / "o", "--limit", "0")
    assert (status, errors) == (2, ["dtcseg: --limit must be more than 0 minutes, not 0"])
