"""The process that reads reports: one after the other from stdin, what became of each to stdout, until stdin ends.

A message is its length (8 bytes, big-endian) and MessagePack. A report from outside may be anything: this process may
use only so much memory, and whoever started it may kill it at any moment.
"""

import os
import resource
import sys
from typing import BinaryIO

import msgspec

from keepstep.integrations.erp.layout import LAYOUTS
from keepstep.integrations.erp.parser import Report, parse
from keepstep.integrations.erp.refusal import Refused, Spot

MEMORY = 2 * 1024**3
_NICER = 5


class Asked(msgspec.Struct, frozen=True):
    """One report to read."""

    report: str
    agent: str
    pdf: bytes


class Told(msgspec.Struct, frozen=True):
    """What became of it: the report, or why there is none."""

    report: Report | None = None
    code: str = ""
    detail: str = ""
    spot: Spot | None = None


def read(asked: Asked) -> Told:
    """One report's answer."""
    try:
        return Told(report=parse(asked.pdf, LAYOUTS[asked.report], agent=asked.agent))
    except Refused as refused:
        return Told(code=refused.code, detail=refused.detail, spot=refused.spot)
    except MemoryError:
        return Told(code="report-too-heavy", detail=f"it needs more than {MEMORY // 1024**2} MiB")
    except RecursionError:
        return Told(code="report-cut-off", detail="its inside is nested without end")


def main() -> None:
    """Answer until stdin ends."""
    import pdfplumber  # noqa: F401 - now, and not with the first report; whoever starts this process need not load it

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.nice(_NICER)  # whoever waits for a page comes first
    asked_for, answers = sys.stdin.buffer, sys.stdout.buffer
    decoder, encoder = msgspec.msgpack.Decoder(Asked), msgspec.msgpack.Encoder()
    while (message := _message(asked_for)) is not None:
        told = encoder.encode(read(decoder.decode(message)))
        answers.write(len(told).to_bytes(8, "big") + told)
        answers.flush()


def _message(source: BinaryIO) -> bytes | None:
    size = source.read(8)
    if len(size) < 8:
        return None
    return source.read(int.from_bytes(size, "big"))


if __name__ == "__main__":
    main()
