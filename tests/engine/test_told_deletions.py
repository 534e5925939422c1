"""What upstream itself says is gone, records that are none of an entity's, and changes that it cannot tell any more."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from keepstep.engine.runner import Runner
from keepstep.model.errors import ChangesLost, Transient, UpstreamError
from keepstep.model.integration import Check, Entity, Field, Kind, Mode, Page, Ping, Reading
from keepstep.model.run import Event, Policy, RunRequest
from keepstep.service.shapes import RunSummary
from tests.support.sync import Sync, counts_of, entity_of

THINGS = Entity("things", (Field("name", Kind.TEXT), Field("size", Kind.INTEGER)), key="wireName")


def thing(key: str, name: str = "a thing", **more: Any) -> Raw:
    return Raw(msgspec.json.encode({"wireName": key, "name": name, **more}))


def page(*keys: str, **given: Any) -> Page:
    """A page of things, the only one if nothing else is said."""
    records = given.pop("records", [thing(key) for key in keys])
    number = given.pop("number", 1)
    return Page(records, list(keys), number, {"page": number + 1}, given.pop("last", True), **given)


class Scripted:
    """An upstream that gives the pages it was told to, one script for each reading."""

    key, title, base_url, requests = "scripted", "Scripted", "", 0
    entities = (THINGS,)

    def __init__(self) -> None:
        self.scripts: list[Sequence[Page | UpstreamError]] = []
        self.readings: list[Reading] = []

    async def ping(self) -> Ping:
        raise NotImplementedError

    async def check(self, endpoint: str, *, page_size: int = 1) -> Check:
        raise NotImplementedError

    async def read(self, entity: Entity, reading: Reading) -> AsyncIterator[Page]:
        """The pages of the next script; an error in it is raised in its turn."""
        self.readings.append(reading)
        for found in self.scripts.pop(0):
            if isinstance(found, UpstreamError):
                raise found
            yield found

    async def aclose(self) -> None:
        """Nothing to give back."""


class Story:
    """Runs of a scripted upstream on the test's own database."""

    def __init__(self, sync: Sync) -> None:
        self.sync = sync
        self.upstream = Scripted()
        self.events: list[Event] = []

    async def run(
        self, *scripts: Sequence[Page | UpstreamError], mode: Mode = Mode.DELTA, dry_run: bool = False, **policy: Any
    ) -> RunSummary:
        self.upstream.scripts = list(scripts)
        self.events = []
        runner = Runner(self.sync.database, self.upstream, Policy(**policy), self.events.append)
        run = await self.sync.views.run(await runner.start(RunRequest(("things",), mode, dry_run=dry_run)))
        assert not self.upstream.scripts, "not every reading was made"
        return run

    async def load(self, count: int = 6) -> list[str]:
        """Some things, named t0, t1, ..."""
        keys = [f"t{n}" for n in range(count)]
        await self.run([page(*keys, total=count)], mode=Mode.BACKFILL)
        return keys

    async def live(self) -> list[str]:
        rows = await self.sync.sql("SELECT id FROM scripted.things WHERE _deleted_at IS NULL ORDER BY id")
        return [row["id"] for row in rows]


@pytest.fixture
def story(sync: Sync) -> Story:
    return Story(sync)


async def test_the_key_stands_in_the_column_id_whatever_it_is_called(story: Story) -> None:
    await story.load(1)

    [row] = await story.sync.sql("SELECT id, name, _extra FROM scripted.things")

    assert row == {"id": "t0", "name": "a thing", "_extra": {}}


async def test_a_delta_deletes_what_upstream_says_is_gone_and_counts_it(story: Story) -> None:
    await story.load()

    run = await story.run([page("t9", gone=["t1", "t4", "never-heard-of"])])

    assert counts_of(run) == {"inserted": 1, "deleted": 2}
    assert await story.live() == ["t0", "t2", "t3", "t5", "t9"]
    [row] = await story.sync.sql("SELECT _deleted_at, _changed_at, _run_id FROM scripted.things WHERE id = 't1'")
    assert row["_deleted_at"] == row["_changed_at"]
    assert row["_run_id"] == run.run_id
    assert story.events[-2].msg == "things: done, 2 deleted."


async def test_a_deletion_that_is_told_again_counts_once(story: Story) -> None:
    await story.load()
    await story.run([page(gone=["t1"])])

    run = await story.run([page(gone=["t1"], number=1, last=False), page(gone=["t1", "t2"], number=2)])

    assert counts_of(run) == {"deleted": 1}


async def test_what_is_gone_on_one_page_and_there_on_the_next_is_there(story: Story) -> None:
    await story.load()

    run = await story.run([page(gone=["t1"], last=False), page("t1", number=2)], flush_rows=1000)

    assert "t1" in await story.live()
    assert counts_of(run) == {"deleted": 1, "updated": 1}


async def test_what_is_there_on_one_page_and_gone_on_the_next_is_gone(story: Story) -> None:
    await story.load()

    await story.run([page("t1", "t7", last=False), page(gone=["t1", "t7"], number=2)], flush_rows=1000)

    assert await story.live() == ["t0", "t2", "t3", "t4", "t5"]


async def test_told_deletions_commit_with_their_page_or_not_at_all(story: Story) -> None:
    await story.load()

    failed = await story.run(
        [
            page(gone=["t1"], last=False, facts={"token": "1"}),
            page(gone=["t2"], number=2, last=False),
            Transient("No."),
        ],
        flush_rows=1,
    )

    assert failed.result == "failed"
    assert await story.live() == ["t0", "t3", "t4", "t5"]
    [saved] = await story.sync.sql("SELECT cursor FROM keepstep.checkpoints")
    assert saved["cursor"] == {"page": 3}
    await story.run([page(gone=["t3"], number=3)])
    assert story.upstream.readings[-1].cursor == {"page": 3}
    assert story.upstream.readings[-1].facts == {"token": "1"}
    assert await story.live() == ["t0", "t4", "t5"]


async def test_a_dry_run_says_what_would_be_deleted_and_deletes_nothing(story: Story) -> None:
    await story.load()

    run = await story.run(
        [page("t9", gone=["t1", "nobody"], last=False), page(gone=["t1", "t2"], number=2)], dry_run=True
    )

    report = entity_of(run, "things").report
    assert report is not None
    assert (report["deleted"], report["inserted"]) == (2, 1)
    assert [s["key"] for s in report["samples"] if s["change"] == "deleted"] == ["t1", "t2"]
    assert counts_of(run) == {"inserted": 1, "deleted": 2}
    assert len(await story.live()) == 6
    assert await story.sync.sql("SELECT 1 FROM keepstep.entity_states WHERE facts <> '{}'") == []


async def test_a_dry_run_before_the_first_run_has_nothing_to_delete(story: Story) -> None:
    run = await story.run([page("t1", gone=["t2"])], dry_run=True)

    assert counts_of(run) == {"inserted": 1}


async def test_the_dead_letter_of_what_is_gone_is_resolved(story: Story) -> None:
    await story.load()
    await story.run([page("t1", records=[thing("t1", size="no number")])])
    assert len(await story.sync.letters()) == 1

    await story.run([page(gone=["t1"])])

    assert await story.sync.letters() == []
    [letter] = await story.sync.letters("resolved")
    assert letter["note"] == "The record is gone upstream."


async def test_skipped_records_are_counted_by_reason_and_are_no_dead_letters(story: Story) -> None:
    run = await story.run(
        [page("t0", skipped={"skipped_tiny": ["s1", "s2"]}, total=5, last=False),
         page("t1", number=2, total=5, skipped={"skipped_odd": ["s3"]})], mode=Mode.BACKFILL,
    )  # fmt: skip

    things = entity_of(run, "things")
    assert things.skipped == run.skipped == {"skipped_tiny": 2, "skipped_odd": 1}
    assert counts_of(run) == {"inserted": 2}
    assert things.completeness == "complete: all 5 records seen"
    assert await story.sync.letters() == []
    assert story.events[-2].msg == "things: done, 1 skipped odd, 2 skipped tiny; complete: all 5 records seen."


async def test_a_row_whose_record_is_skipped_now_is_deleted(story: Story) -> None:
    await story.load()

    delta = await story.run([page(skipped={"skipped_tiny": ["t1", "s1"]})])
    whole = page("t0", "t3", "t4", "t5", total=6, skipped={"skipped_tiny": ["t1", "t2"]})
    full = await story.run([whole], [whole], mode=Mode.BACKFILL)

    assert counts_of(delta) == {"deleted": 1}
    assert delta.skipped == {"skipped_tiny": 2}
    assert counts_of(full) == {"unchanged": 4, "deleted": 1}
    assert await story.live() == ["t0", "t3", "t4", "t5"]


async def test_what_is_skipped_is_counted_once_however_often_it_is_looked_at(story: Story) -> None:
    await story.load()
    look = [page("t0", "t1", total=3, skipped={"skipped_tiny": ["s1"]})]

    run = await story.run(look, look, mode=Mode.BACKFILL)
    dry = await story.run(look, mode=Mode.BACKFILL, dry_run=True)

    assert run.skipped == {"skipped_tiny": 1}
    assert counts_of(run) == {"unchanged": 2, "deleted": 4}
    assert dry.skipped == {"skipped_tiny": 1}


async def test_a_delta_of_lost_changes_reads_everything_and_finds_what_is_gone(story: Story) -> None:
    await story.load()
    everything = [page("t0", "t2", "t9", total=3)]

    run = await story.run([ChangesLost("The token is old.")], everything, everything)

    assert (run.result, run.mode) == ("succeeded", "delta")
    assert [reading.mode for reading in story.upstream.readings[-3:]] == [Mode.DELTA, Mode.BACKFILL, Mode.BACKFILL]
    assert counts_of(run) == {"inserted": 1, "unchanged": 2, "deleted": 4}
    assert await story.live() == ["t0", "t2", "t9"]
    [event] = [event for event in story.events if event.type == "changes-lost"]
    assert event.level == "info"


async def test_what_a_full_reading_learned_holds_once_it_has_ended(story: Story) -> None:
    """Else the next delta would go on from there, and nothing would tell of what was to be deleted."""
    await story.load()
    look = [page("t0", total=1, facts={"token": "new"})]

    await story.run(look, [Transient("No.")], mode=Mode.BACKFILL)
    between = await story.sync.sql("SELECT facts FROM keepstep.entity_states WHERE facts <> '{}'")
    await story.run(look, mode=Mode.BACKFILL)

    assert between == []
    assert await story.sync.value("SELECT facts FROM keepstep.entity_states") == {"token": "new"}
    assert await story.live() == ["t0"]


@pytest.mark.parametrize(("total", "kept"), [(2, {}), (1, {"token": "new"})])
async def test_an_unproven_reading_with_rows_that_stay_leaves_nothing_to_go_on_from(
    story: Story, total: int, kept: dict[str, str]
) -> None:
    await story.load()
    look = [page("t0", total=total, facts={"token": "new"})]

    await story.run(*[look] * (3 if total == 2 else 2), mode=Mode.BACKFILL)

    assert await story.sync.value("SELECT facts FROM keepstep.entity_states") == kept


async def test_changes_that_are_lost_in_the_middle_leave_no_checkpoint_that_leads_nowhere(story: Story) -> None:
    await story.load()
    await story.run([page("t7", last=False), Transient("No.")], flush_rows=1)
    everything = [page("t0", "t7", total=2)]

    await story.run([ChangesLost("The place is gone.")], everything, everything)
    after = await story.run([page()])

    assert await story.live() == ["t0", "t7"]
    assert story.upstream.readings[-1].cursor is None
    assert counts_of(after) == {}
    assert await story.sync.sql("SELECT 1 FROM keepstep.checkpoints") == []


async def test_the_drop_guard_holds_what_a_reading_of_everything_does_not_find(story: Story) -> None:
    await story.load(60)
    everything = [page("t0", total=1)]

    run = await story.run([ChangesLost("The token is old.")], everything, everything)

    assert run.result == "held"
    assert len(await story.live()) == 60


async def test_a_delta_that_would_delete_too_many_becomes_a_reading_that_a_person_decides_on(story: Story) -> None:
    await story.load(60)
    few, more = ([f"t{n}" for n in range(first, last)] for first, last in ((0, 20), (20, 50)))
    everything = [page(*(f"t{n}" for n in range(50, 60)), total=10)]

    run = await story.run(
        [page("t55", gone=few, last=False), page(gone=more, number=2)], everything, everything, flush_rows=1
    )

    assert run.result == "held"
    assert len(await story.live()) == 40
    [held] = await story.sync.sql("SELECT delete_rows, live_rows FROM keepstep.held_deletions")
    assert (held["delete_rows"], held["live_rows"]) == (30, 40)
    [event] = [event for event in story.events if event.type == "changes-lost"]
    assert "50 of 60 records are gone at once" in event.msg


async def test_the_guard_of_a_delta_follows_the_policy_and_a_dry_run_says_so(story: Story) -> None:
    await story.load(60)
    script = [page(gone=[f"t{n}" for n in range(50)])]
    everything = [page(*(f"t{n}" for n in range(50, 60)), total=10)]

    dry = await story.run(script, everything, everything, dry_run=True)
    run = await story.run(script, drop_percent=90)

    report = entity_of(dry, "things").report
    assert report is not None
    assert (report["deleted"], report["wouldBeHeld"]) == (50, True)
    assert counts_of(run) == {"deleted": 50}


async def test_skipping_most_records_is_for_a_person_to_decide_too(story: Story) -> None:
    await story.load(60)
    most = [f"t{n}" for n in range(50)]
    everything = [page(*(f"t{n}" for n in range(50, 60)), total=60, skipped={"skipped_tiny": most})]

    run = await story.run([page(skipped={"skipped_tiny": most})], everything, everything)

    assert (run.result, run.skipped) == ("held", {"skipped_tiny": 50})
    assert len(await story.live()) == 60


async def test_a_dry_run_of_lost_changes_tells_of_everything_and_forgets_no_checkpoint(story: Story) -> None:
    await story.load()
    await story.run([page("t7", last=False), Transient("No.")], flush_rows=1)

    run = await story.run([ChangesLost("Old.")], [page("t0", total=1)], [page("t0", total=1)], dry_run=True)

    report = entity_of(run, "things").report
    assert report is not None
    assert report["deleted"] == 6
    assert len(await story.live()) == 7
    assert await story.sync.value("SELECT count(*) FROM keepstep.checkpoints") == 1


async def test_a_full_reading_that_cannot_be_read_fails_and_is_not_tried_for_ever(story: Story) -> None:
    run = await story.run([ChangesLost("Old.")], [ChangesLost("Never.")])

    assert run.result == "failed"
