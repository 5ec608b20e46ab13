"""From pixels to the three stain planes: nuclear, cytokeratin and the rest."""
