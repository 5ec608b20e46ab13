"""Released weights of dtcseg: data only, see `index.json` and the model cards."""
