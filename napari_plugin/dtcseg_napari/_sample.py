"""Sample data that napari offers: a simulated field with its truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dtcseg_napari._layers import CALL_MARKS, MARK_UM

if TYPE_CHECKING:
    from dtcseg_napari._layers import LayerTuple

_SIDE_PX = 1024
_SEED = 7


def simulated_field() -> list[LayerTuple]:
    """Draw a field of a new fuchsin slide with its CK+ cells marked; the same one every time."""
    from dtcseg_training.simulate import draw_spec, render_field

    rng = np.random.default_rng(_SEED)
    spec = draw_spec(rng, stain="new_fuchsin", mpp_um=0.5, size_px=(_SIDE_PX, _SIDE_PX))
    field = render_field(spec, rng)
    cells = [(cell, call) for cell in field.cells for call in CALL_MARKS if cell.call == call]
    scale = (field.mpp_um, field.mpp_um)
    shared: dict[str, Any] = {"scale": scale, "units": ("um", "um")}
    marks: dict[str, Any] = {
        **shared,
        "name": "simulated cells",
        "size": MARK_UM / field.mpp_um,
        "face_color": "transparent",
        "border_width": 0.08,
        "border_color": [CALL_MARKS[call][0] for _, call in cells],
        "symbol": [CALL_MARKS[call][1] for _, call in cells],
        "features": {"call": [call for _, call in cells]},
    }
    places = np.array([(cell.y_px, cell.x_px) for cell, _ in cells])
    return [(field.image, {**shared, "name": "simulated field", "rgb": True}, "image"), (places, marks, "points")]
