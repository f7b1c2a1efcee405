"""What a run will take, without running it."""
