"""Opening slides: one function, whatever the file format behind it."""

from __future__ import annotations

from dtcseg.slide._base import Level, Resolution, Slide
from dtcseg.slide._names import match_channels
from dtcseg.slide._open import open_slide

__all__ = ["Level", "Resolution", "Slide", "match_channels", "open_slide"]
