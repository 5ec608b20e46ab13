"""What every function of this package asks of its numbers: one clear line instead of a NaN that travels on."""

from __future__ import annotations

import math


def whole(value: float, name: str) -> int:
    """Return a count as an int.

    Raises
    ------
    ValueError
        Negative, NaN, infinite or broken.
    """
    if not (math.isfinite(value) and value >= 0 and value == int(value)):
        raise ValueError(f"{name} must be a whole number, at least 0: {value}")
    return int(value)


def positive(value: float, name: str) -> float:
    """Return a number above 0.

    Raises
    ------
    ValueError
        0 or below, NaN or infinite.
    """
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be above 0: {value}")
    return float(value)


def not_negative(value: float, name: str) -> float:
    """Return a number of at least 0.

    Raises
    ------
    ValueError
        Below 0, NaN or infinite.
    """
    if not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be at least 0: {value}")
    return float(value)


def between(value: float, name: str) -> float:
    """Return a probability that leaves something open.

    Raises
    ------
    ValueError
        Not strictly between 0 and 1.
    """
    if not 0.0 < value < 1.0:  # NaN compares false
        raise ValueError(f"{name} must lie between 0 and 1: {value}")
    return float(value)
