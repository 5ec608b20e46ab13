"""A physical simulator of stained marrow cytospins with known truth."""

from dtcseg_training.simulate.field import Field, TruthCell, render_field
from dtcseg_training.simulate.spec import FieldSpec, draw_spec

__all__ = ["Field", "FieldSpec", "TruthCell", "draw_spec", "render_field"]
