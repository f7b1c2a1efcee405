"""Model folders: the Tahoe-x1 release format, exported students, their cards, and the hub."""
