"""What docs/performance.md quotes, measured again with one command: ``make bench`` or ``python -m bench``."""
