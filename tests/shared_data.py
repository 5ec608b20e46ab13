"""Where the real images are; they are no part of the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def data_folder() -> Path:
    """Folder of the real images, whether or not it is there."""
    named = os.environ.get("DTCSEG_SHARED")
    if named is None:
        return Path(__file__).parents[2] / "shared" / "data"
    return Path(named) / "data" if (Path(named) / "data").is_dir() else Path(named)


READERS = data_folder() / "readers"
needs_readers = pytest.mark.skipif(
    not READERS.is_dir(), reason=f"no real slides at {READERS}; set DTCSEG_SHARED to the folder that holds data/"
)
