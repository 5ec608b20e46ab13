"""Colours and letters of what a cell is: one set for the canvas, the gallery and the keys."""

from __future__ import annotations

# Okabe and Ito's colours: told apart with every kind of colour vision, on light and dark ground, and none of them that
# of a chromogen. Letters and shapes say the same a second time.
VERDICT_COLOURS: dict[str, str] = {
    "tumour": "#009E73",
    "probable": "#56B4E9",
    "uninterpretable": "#E69F00",
    "haematopoietic": "#0072B2",
    "artefact": "#999999",
    "skip": "#CC79A7",
    "not_an_object": "#555555",
}
VERDICT_LETTERS: dict[str, str] = {
    "tumour": "T",
    "probable": "P",
    "uninterpretable": "U",
    "haematopoietic": "H",
    "artefact": "A",
    "skip": "S",
    "not_an_object": "x",
}
UNREAD_COLOUR = "#F0E442"
"""Of a cell that nobody spoke of, where the program's call is not shown."""
OUTLINE_COLOUR = "#00E5FF"
"""Cyan: seen on red, brown, blue and black alike."""
OTHER_OUTLINES = "#FFFFFF"
DRAWN_COLOUR = "#F0E442"
"""Of what is drawn and not said yet."""


def word(verdict: str) -> str:
    """Write a verdict for people."""
    return verdict.replace("_", " ")
