"""Slides with known truth, made by a physical model of staining, optics and sensor."""
