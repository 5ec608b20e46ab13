"""Results in the formats of other programs, made from the results folder alone: no image is read."""
