"""Write the table of real files in `readers.md` anew: every file opened, and compared with a second reader.

Usage: python docs/readers_table.py   (the real images in ../shared/data, or where DTCSEG_SHARED says)
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from shared_data import READERS  # noqa: E402
from slide.comparisons import REAL, Real, report  # noqa: E402

PAGE = ROOT / "docs" / "readers.md"
START, END = "<!-- table: made by readers_table.py -->", "<!-- end of table -->"
HEADER = (
    "| file | format | size, px | µm/px, source | levels | kind, channels | checked against | largest difference |\n"
    "|---|---|---|---|---|---|---|---|\n"
)


def row(real: Real) -> str:
    """Describe one real file as a row of the table."""
    slide, trouble, difference = report(real, READERS)
    if slide is None:
        return f"| {real.name} | refused: {trouble} | | | | | | |\n"
    level = slide.levels[0]
    found = slide.resolution
    mpp = f"{found.mpp_um:.4g}, {found.source}" if found else "none usable: `--mpp` is asked for"
    other = real.other_name
    if real.levels is not None and len(slide.levels) > real.levels:
        other += " (level 0)"
    compared = str(difference) if difference is not None else f"refused: {trouble}"
    cells = [
        real.name,
        slide.format_name,
        f"{level.width_px} x {level.height_px}",
        mpp,
        ", ".join(f"1:{one.downsample:g}" for one in slide.levels),
        "RGB" if slide.kind == "brightfield" else f"{', '.join(slide.channels)}",
        other,
        compared,
    ]
    return "| " + " | ".join(cells) + " |\n"


def main() -> None:
    """Replace the table between its marks."""
    text = PAGE.read_text("utf-8")
    before, rest = text.split(START)
    after = rest.split(END)[1]
    table = HEADER + "".join(row(real) for real in REAL)
    PAGE.write_text(f"{before}{START}\n{table}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
