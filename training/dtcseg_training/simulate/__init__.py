"""A physical simulator of stained marrow cytospins with known truth."""

from dtcseg_training.simulate.field import Field, TruthCell, render_field
from dtcseg_training.simulate.slides import write_slide
from dtcseg_training.simulate.spec import FieldSpec, draw_spec
from dtcseg_training.simulate.study import draw_slide_spec, simulate
from dtcseg_training.simulate.truth import Truth, read_truth

__all__ = [
    "Field",
    "FieldSpec",
    "Truth",
    "TruthCell",
    "draw_slide_spec",
    "draw_spec",
    "read_truth",
    "render_field",
    "simulate",
    "write_slide",
]
