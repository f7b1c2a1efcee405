"""Samples of cells to batches: augmentation, context, masks, padding."""
