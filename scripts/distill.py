"""Distil a teacher: `composer scripts/distill.py -f CONFIG [key=value ...]` (a positional config works too)."""

from tahoe_distill.cli.distill import main

if __name__ == "__main__":
    main()
