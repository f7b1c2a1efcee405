"""Pickles that must never be opened without care."""

import os


class RunsCode:
    """Runs a command that makes the file ``path``, if its pickle is opened without care."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)
