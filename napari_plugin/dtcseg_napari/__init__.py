"""The napari plugin of dtcseg: opens slide files, and results folders over their slides."""
