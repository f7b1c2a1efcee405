"""What lets a killed run carry on: checkpoints looked over before the start, batches divided as before."""
