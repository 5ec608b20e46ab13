"""Two readers at work in two processes on one slide: both logs are complete."""

from __future__ import annotations

import subprocess
import sys

from making_review import opened

from dtcseg.verdicts import replay, verify

_READ = """
import sys
from pathlib import Path
from dtcseg.review.session import ReviewSession
from dtcseg.review.slides import open_results
session = ReviewSession(open_results(Path(sys.argv[1])), sys.argv[2])
print("open", flush=True)
sys.stdin.readline()
while True:
    number = session.position
    session.comment(f"{sys.argv[2]} {number}")
    if not session.give(sys.argv[3]):
        break
session.close()
"""


def test_two_readers_write_at_once_and_both_are_complete(tmp_path):
    opened(tmp_path, a=60)
    readers = {"Anna": "tumour", "Bo": "artefact"}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _READ, str(tmp_path / "out"), reader, word],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for reader, word in readers.items()
    ]
    assert all(child.stdout.readline() == "open\n" for child in children), "both are ready before either begins"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        _, errors = child.communicate()
        assert (child.returncode, errors) == (0, "")
    reads = {read.reader: read for read in replay(tmp_path / "out" / "a").reads}
    for reader, word in readers.items():
        states = reads[reader].cells.values()
        assert [state.verdict for state in states] == [word] * 60
        assert {state.comment for state in states} == {f"{reader} {number}" for number in range(60)}
    found = verify(tmp_path / "out")
    assert found.sound
    assert (found.logs, found.entries) == (2, 240)
