"""Exported model folders: what they hold, writing them, their cards, and publishing them on the hub."""
