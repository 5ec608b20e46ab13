"""Reading a results folder: what is shown next, what is said, what differs. Knows neither Qt nor napari.

Windows (`napari_plugin/`) show what a session says and tell it which key was pressed; every word goes through a session
into the verdict logs (`dtcseg.verdicts`), and is on disk when the session's method returns.
"""

from __future__ import annotations
