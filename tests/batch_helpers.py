"""What tests of batches share: a run with a fake scorer, and what its results folder holds."""

import csv
import json
import time

import fake_scoring
import psutil
from fake_scoring import WEIGHTS

from dtcseg.batch import score_jobs
from dtcseg.config import ScoreConfig


def score(jobs, out, failures=(), scorer=fake_scoring.score, weights=WEIGHTS, **config):
    return score_jobs(jobs, failures, ScoreConfig(out=out, **config), scorer=scorer, weights=weights)


def table(out, name="slides.csv"):
    with open(out / name, encoding="utf-8", newline="") as file:
        return {row["slide" if name == "slides.csv" else "patient"]: row for row in csv.DictReader(file)}


def content(out):
    """Everything in a results folder that must be the same for two runs: all but times and the run's own settings."""
    files = {}
    for path in sorted(out.rglob("*")):
        if path.is_dir() or path.name in ("report.html", "log.jsonl"):
            continue
        name = path.relative_to(out).as_posix()
        if path.name == "slide.json":
            files[name] = {**json.loads(path.read_text()), "seconds": 0, "finished": ""}
        elif path.name == "run.json":
            run = json.loads(path.read_text())
            files[name] = {**run, "started": "", "ended": bool(run["ended"]), "settings": {}}
        elif name == "slides.csv":
            files[name] = [{**row, "seconds": ""} for row in table(out).values()]
        else:
            files[name] = path.read_bytes()
    return files


def hidden(out):
    return list(out.rglob(".*"))


def wait_for(condition):
    deadline = time.monotonic() + 120
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)


def wait_until_gone(processes):
    _, alive = psutil.wait_procs(processes, timeout=5)
    assert not alive


def log(out, event=None):
    """The lines of a results folder's log, of one kind or all."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text("ascii").splitlines()]
    return [line for line in lines if event in (None, line["event"])]
