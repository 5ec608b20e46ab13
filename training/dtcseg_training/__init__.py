"""dtcseg training: simulator, data sets, training and evaluation."""
