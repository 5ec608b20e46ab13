"""No test of the readers leaves a file open."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import psutil
import pytest


@pytest.fixture(autouse=True)
def no_file_left_open(request: pytest.FixtureRequest) -> Iterator[None]:
    process = psutil.Process()
    before = {(file.path, file.fd) for file in process.open_files()}
    yield
    left = {(file.path, file.fd) for file in process.open_files()} - before
    if left:
        # Handles inside reference cycles (an exception's traceback) go with the collector; those are no leaks.
        gc.collect()
        left = {(file.path, file.fd) for file in process.open_files()} - before
    slides = [path for path, _ in left if "pytest" in path or "readers" in path]
    assert not slides, f"left open: {slides}"
