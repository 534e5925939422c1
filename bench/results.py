"""What a measurement found, and how it is told."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """One thing: its median, 99th percentile and worst. ``kept``: whether its limit holds; None: it has none."""

    what: str
    p50: float
    p99: float
    worst: float
    unit: str
    count: int = 1
    kept: bool | None = None


def spread(what: str, found: Sequence[float], unit: str, most: float | None = None) -> Result:
    """What many of a kind come to; ``most``: the limit of the 99th percentile."""
    order = sorted(found)
    p99 = order[min(len(order) * 99 // 100, len(order) - 1)]
    kept = None if most is None else p99 <= most
    return Result(what, order[len(order) // 2], p99, order[-1], unit, len(order), kept)


def single(what: str, value: float, unit: str, kept: bool | None = None) -> Result:
    """One number."""
    return Result(what, value, value, value, unit, 1, kept)


def line(result: Result) -> str:
    """A row of the table."""
    word = {True: "kept", False: "**missed**", None: ""}[result.kept]
    many = result.count > 1
    rest = f"{result.p99:,.4g} | {result.worst:,.4g} | {result.count:,}" if many else " | | "
    return f"| {result.what} | {result.p50:,.4g} {result.unit} | {rest} | {word} |"


HEAD = "| what | p50, or found | p99 | worst | of | |\n| --- | ---: | ---: | ---: | ---: | --- |"
