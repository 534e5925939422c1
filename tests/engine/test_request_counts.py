"""However a run goes, its ``requests`` are those that upstream has seen."""

from typing import Any

import pytest

from tests.support.sync import Sync


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "500", "forever": True},
        {"kind": "reset", "variant": "rst", "count": 2},
        {"kind": "html", "entity": "leases", "forever": True},
        {"kind": "429", "retry_after": 5, "count": 2},
        {"kind": "429", "retry_after": 1800, "entity": "leases", "forever": True},
        {"kind": "truncate", "variant": "body", "entity": "units", "after": 1, "forever": True},
    ],
    ids=lambda fault: "-".join(str(fault[name]) for name in ("kind", "retry_after", "entity") if name in fault),
)
@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_run_counts_the_requests_that_were_sent_whatever_came_of_them(
    sync: Sync, fault: dict[str, Any], dry_run: bool
) -> None:
    sync.upstream.fault(**fault)

    run = await sync.run(dry_run=dry_run)

    assert run.requests == len(sync.upstream.requests())
    assert run.requests == sum(entity.requests for entity in run.entities)


async def test_pages_that_a_delta_fetched_ahead_and_did_not_need_are_counted_too(sync: Sync) -> None:
    await sync.run()
    sent = len(sync.upstream.requests())

    run = await sync.delta()

    assert run.requests == len(sync.upstream.requests()) - sent


async def test_a_run_that_waited_and_was_taken_up_again_counts_all_its_attempts(sync: Sync) -> None:
    sync.upstream.fault(kind="429", retry_after=1800, entity="leases", count=1)
    await sync.run_queued()
    await sync.let_time_pass()

    run = await sync.run_queued()

    assert run.result == "succeeded"
    assert run.requests == len(sync.upstream.requests())
