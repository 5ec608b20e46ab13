"""The napari plugin of dtcseg."""
