"""Whether slides are like those that the weights know: stain, focus and scores against the training's."""

from __future__ import annotations
