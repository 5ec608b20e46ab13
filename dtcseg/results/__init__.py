"""The results folder: written whole or not at all, resumable, safe to open anywhere."""
