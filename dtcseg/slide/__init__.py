"""Slide files of every format behind one interface: `open_slide(path) -> Slide`."""
