"""Pictures inside a page: a self-contained file loads nothing from elsewhere."""

from __future__ import annotations

import base64


def data_uri(picture: bytes) -> str:
    """Put a PNG or JPEG file into the address of an image of an HTML page."""
    kind = "jpeg" if picture.startswith(b"\xff\xd8") else "png"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"
