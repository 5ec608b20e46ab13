"""As a user would: the real command on real files, good and bad side by side, with the released weights."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from dtcseg_training.simulate import draw_slide_spec, write_slide

from dtcseg.cli import main

pytestmark = pytest.mark.slow
PROGRAM = [sys.executable, "-m", "dtcseg.cli"]


def run(*arguments, **more):
    return subprocess.run([*PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=600, **more)


def hear_interrupts():
    """A process started in the background may have been told to ignore Ctrl-C; a user's has not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def rows(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def make_slide(path, seed=3, side_px=1000, stain="new_fuchsin"):
    spec = draw_slide_spec(
        np.random.default_rng(seed), stain=stain, mpp_um=0.5, size_px=(side_px, side_px), enriched=True
    )
    write_slide(path, spec, seed=seed)
    for extra in (*path.parent.glob("*.truth*"),):
        extra.unlink()
    return path


def make_tiff(path, pixels, mpp_um=0.5, **more):
    centimetre = {"resolution": (1e4 / mpp_um, 1e4 / mpp_um), "resolutionunit": "CENTIMETER"} if mpp_um else {}
    tifffile.imwrite(path, pixels, tile=(256, 256), **{"photometric": "rgb", **centimetre, **more})


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A folder as a lab might have it: two good slides under hostile names, and one of every kind of bad one."""
    folder = tmp_path_factory.mktemp("mixed")
    good = make_slide(folder / "good.ome.tif")
    data = good.read_bytes()
    (folder / "=1+1 'quoted' ümläut.ome.tif").write_bytes(data)
    (folder / "other").mkdir()
    (folder / "other" / "good.ome.tif").write_bytes(data)
    (folder / "zero.tif").write_bytes(b"")
    (folder / "text.svs").write_text("this is not a slide")
    (folder / "cut.ome.tif").write_bytes(data[: len(data) // 2])
    rng = np.random.default_rng(0)
    grey = rng.integers(90, 110, (600, 600, 3)).astype(np.uint8)
    make_tiff(folder / "no_pixel_size.tif", grey, mpp_um=None)
    make_tiff(folder / "absurd_pixel_size.tif", grey, mpp_um=4000)
    make_tiff(folder / "one_channel.tif", grey[..., 0], photometric="minisblack")
    amounts = rng.uniform(0.3, 1.0, (600, 600, 1)) * (rng.random((600, 600, 1)) < 0.5)
    green = (240 * 10 ** (-amounts * np.array([0.80, 0.15, 0.58]))).astype(np.uint8)
    make_tiff(folder / "green.tif", green)
    return folder


@pytest.fixture(scope="module")
def scored(mixed, tmp_path_factory):
    out = tmp_path_factory.mktemp("results") / "r"
    return run("score", mixed, mixed / "other", "--out", out, "--device", "cpu"), out


BAD = {
    "zero": "empty",
    "text": "",
    "cut": "truncated",
    "no_pixel_size": "--mpp",
    "absurd_pixel_size": "--mpp",
    "one_channel": "channel",
    "green": "cytokeratin",
}


def test_bad_slides_are_named_and_the_others_done(scored):
    process, out = scored
    assert process.returncode == 1, process.stderr
    assert "Traceback" not in process.stderr
    table = {row["slide"]: row for row in rows(out / "slides.csv")}
    failed = {name for name, row in table.items() if row["status"] == "failed"}
    assert failed == set(BAD)
    for name, words in BAD.items():
        line = next(line for line in process.stderr.splitlines() if name in line)
        assert words.lower() in line.lower()
        assert words.lower() in table[name]["reason"].lower()
        assert table[name]["per_million"] == ""
    done = [row for row in table.values() if row["status"] == "done"]
    assert len(done) == 3
    assert len({(r["mnc"], r["candidates"], r["tumour"]) for r in done}) == 1  # three copies of one slide


def test_results_folder_is_whole(scored):
    _, out = scored
    names = {p.name for p in out.iterdir()}
    assert {"run.json", "slides.csv", "patients.csv", "report.html"} <= names
    for row in rows(out / "slides.csv"):
        folder = out / row["slide"]
        if row["status"] != "done":
            assert not folder.exists()
            continue
        assert {"cells.csv", "cells.geojson", "nuclei.parquet", "verdicts"} <= {p.name for p in folder.iterdir()}
        cells = rows(folder / "cells.csv")
        assert len(cells) == int(row["candidates"])
        assert [float(c["score"]) for c in cells] == sorted((float(c["score"]) for c in cells), reverse=True)
        assert len(json.loads((folder / "cells.geojson").read_text())["features"]) == len(cells)
        import pyarrow.parquet as pq

        assert pq.read_table(folder / "nuclei.parquet").num_rows == int(row["mnc"])
    run_json = json.loads((out / "run.json").read_text())
    text = json.dumps(run_json)
    assert "sha256" in text
    assert not [p for p in out.rglob("*") if p.suffix == ".part" or p.name.startswith("~")]


def test_report_says_research_use_only_and_asks_nothing_outside(scored):
    page = (scored[1] / "report.html").read_text("utf-8")
    assert "research use only" in page.lower()
    for word in ("http://", "https://", "<script src", "@import"):
        assert word not in page.replace("http://www.w3.org/2000/svg", "")
    assert "data:image/png;base64," in page  # drawn by the page's own script when a patient is opened


def test_again_does_only_what_is_missing(scored, mixed):
    _, out = scored
    before = {p: p.stat().st_mtime_ns for p in out.rglob("cells.csv")}
    start = time.monotonic()
    process = run("score", mixed, mixed / "other", "--out", out, "--device", "cpu")
    assert process.returncode == 1
    assert {p: p.stat().st_mtime_ns for p in out.rglob("cells.csv")} == before
    assert time.monotonic() - start < 60


def test_usage_errors(tmp_path, monkeypatch, capsys):
    """One line and exit status 2, in a process of its own or here."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    slide = make_slide(tmp_path / "s.ome.tif", side_px=600)
    nowhere = ["score", tmp_path / "nowhere", "--out", tmp_path / "r"]
    process = run(*nowhere)
    told = [(process.returncode, process.stderr)]
    for arguments in (
        nowhere,
        ["score", tmp_path / "empty", "--out", tmp_path / "r"],
        ["score", slide, "--out", tmp_path / "file"],
        ["score", slide, "--out", tmp_path / "r", "--stain", "purple"],
        ["score", slide, "--out", tmp_path / "r", "--device", "cuda:77"],
        ["score", slide, "--out", tmp_path / "r", "--model", "nosuch"],
        ["score", slide],
    ):
        monkeypatch.setattr("sys.argv", ["dtcseg", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        told.append((ended.value.code, capsys.readouterr().err))
        assert not list(tmp_path.glob("r/*/cells.csv"))
    for status, error in told:
        assert status == 2, error
        assert len(error.strip().splitlines()) == 1, error
    assert told[0] == told[1]


STAINS = ("if", "dab", "aec")
TABLES = ("cells.csv", "cells.geojson", "nuclei.parquet")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Three small slides, and what one process makes of them that nobody disturbs."""
    folder = tmp_path_factory.mktemp("three")
    (folder / "slides").mkdir()
    for seed, stain in enumerate(STAINS):
        make_slide(folder / "slides" / f"{stain}.ome.tif", seed=seed, side_px=700, stain=stain)
    process = run("score", folder / "slides", "--out", folder / "whole", "--workers", 1, "--device", "cpu")
    assert process.returncode == 0, process.stderr
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("how", "workers"), [(signal.SIGINT, 1), (signal.SIGKILL, 2)])
def test_stopped_in_the_middle_and_resumed(undisturbed, tmp_path, how, workers):
    """Three slides; stopped when the first is there; the same command then gives what one undisturbed process gives."""
    command = ["score", str(undisturbed / "slides"), "--out", str(tmp_path / "part"), "--device", "cpu"]
    command += ["--workers", str(workers)]
    process = subprocess.Popen(
        [*PROGRAM, *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=hear_interrupts,
    )
    deadline = time.monotonic() + 300
    while not list((tmp_path / "part").glob("*/cells.csv")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, how)
    status = process.wait(60)
    assert status == (130 if how == signal.SIGINT else -signal.SIGKILL)
    assert len(list((tmp_path / "part").glob("*/slide.json"))) < len(STAINS)
    again = run(*command)
    assert again.returncode == 0, again.stderr
    for stain in STAINS:
        for file in TABLES:
            resumed, whole = (folder / stain / file for folder in (tmp_path / "part", undisturbed / "whole"))
            assert resumed.read_bytes() == whole.read_bytes()


def test_label_and_macro_images_never_reach_results(tmp_path, shared_data):
    """The real SVS carries a label and a macro image; no picture in the results is taken from them."""
    source = shared_data / "readers" / "aperio" / "CMU-1-Small-Region.svs"
    process = run("score", source, "--out", tmp_path / "r", "--device", "cpu")
    assert process.returncode == 0, process.stderr
    pictures = [p for p in (tmp_path / "r").rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg", ".tif")]
    assert all(p.parent.name == "crops" for p in pictures)
    assert Path(source).exists()
