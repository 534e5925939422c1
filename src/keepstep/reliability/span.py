"""Spans of time in words."""

_STEPS = ((47.5 * 3600, 86400, "day"), (59.5 * 60, 3600, "hour"), (30, 60, "minute"))


def ahead(seconds: float) -> str:
    """When something comes: ``in 23 hours``, ``in 5 minutes``, ``in less than a minute``, ``now``."""
    if seconds <= 0:
        return "now"
    for least, unit, name in _STEPS:
        if seconds >= least:
            count = max(1, round(seconds / unit))
            return f"in {count} {name}{'s' if count > 1 else ''}"
    return "in less than a minute"
