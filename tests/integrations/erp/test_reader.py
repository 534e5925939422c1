"""Reports are read in processes that can be killed, and whatever happens to one of them has a name."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from keepstep.integrations.erp.reader import ReportReader
from keepstep.integrations.erp.refusal import Refused
from tests.integrations.erp.office import AGENT, printed, rows_of, truth_of
from tests.integrations.upstream import until


async def test_one_process_reads_one_report_after_the_other() -> None:
    reader = ReportReader()
    seen = set()
    for report in ("orders", "ddt"):
        rows = rows_of(report, 10)
        _, document = printed(report, rows)

        read = await reader.read(report, document.pdf, agent=AGENT)

        assert list(read.records) == truth_of(report, rows, document)
        seen |= reader.pids
    assert len(seen) == 1
    await reader.aclose()
    assert reader.pids == frozenset()


def environment_of(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_text(encoding="utf-8")


async def test_the_process_that_reads_knows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPSTEP_SECRET_KEY", "a secret phrase")
    reader = ReportReader()
    _, document = printed("orders", rows_of("orders", 5))
    await reader.read("orders", document.pdf, agent=AGENT)

    (pid,) = reader.pids
    assert "a secret phrase" not in environment_of(pid)
    await reader.aclose()


async def test_no_more_processes_read_than_allowed() -> None:
    reader = ReportReader(processes=2)
    _, document = printed("orders", rows_of("orders", 20))

    await asyncio.gather(*(reader.read("orders", document.pdf, agent=AGENT) for _ in range(5)))

    assert len(reader.pids) == 2
    await reader.aclose()


async def test_a_refusal_comes_with_its_place_and_the_process_goes_on() -> None:
    reader = ReportReader()
    _, bad = printed("customers", rows_of("customers", 60), flaw="bad-cell")
    _, good = printed("customers", rows_of("customers", 60))

    with pytest.raises(Refused) as refused:
        await reader.read("customers", bad.pdf, agent=AGENT)
    (pid,) = reader.pids
    read = await reader.read("customers", good.pdf, agent=AGENT)

    assert refused.value.code == "report-cell"
    assert refused.value.spot.box is not None
    assert len(read.records) == 60
    assert reader.pids == {pid}
    await reader.aclose()


async def test_a_process_that_is_killed_is_named_and_replaced() -> None:
    reader = ReportReader()
    rows = rows_of("prices", 3000)
    _, document = printed("prices", rows)
    reading = asyncio.create_task(reader.read("prices", document.pdf))
    await until(lambda: len(reader.pids) == 1)
    os.kill(next(iter(reader.pids)), signal.SIGKILL)

    with pytest.raises(Refused) as refused:
        await reading

    assert refused.value.code == "report-too-heavy"
    _, small = printed("orders", rows_of("orders", 5))
    assert len((await reader.read("orders", small.pdf, agent=AGENT)).records) == 5
    await reader.aclose()


async def test_a_report_that_takes_too_long_is_given_up_and_its_process_ends() -> None:
    reader = ReportReader(longest=0.2)
    _, document = printed("prices", rows_of("prices", 2000))

    with pytest.raises(Refused) as refused:
        await reader.read("prices", document.pdf)

    assert refused.value.code == "report-too-heavy"
    assert reader.pids == frozenset()
    await reader.aclose()


async def test_the_event_loop_stays_free_while_a_report_is_read() -> None:
    reader = ReportReader()
    _, document = printed("prices", rows_of("prices", 400))
    reading = asyncio.create_task(reader.read("prices", document.pdf))
    turns = 0
    while not reading.done():
        await asyncio.sleep(0.001)
        turns += 1

    assert len((await reading).records) == 400
    assert turns > 50
    await reader.aclose()
