"""What tests of several packages share, and the programs that tests start in processes of their own."""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
HELPERS = Path(__file__).resolve().parent
