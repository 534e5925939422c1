"""Random stories of an account and of runs that fail, are interrupted, lose their token: in the end all is in step."""

import random
from typing import Any

import pytest

from keepstep.model.integration import Mode
from tests.support.google import NAMES, GoogleSync, google_account

STEPS = 14
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "503", "count": None}, {"kind": "reset", "count": None}, {"kind": "html"}, {"kind": "bad-json"},
    {"kind": "truncate", "variant": "body"}, {"kind": "envelope"}, {"kind": "no-sync-token"}, {"kind": "400"},
    {"kind": "shift", "rows": 2}, {"kind": "expired", "variant": "410-bare"},
)  # fmt: skip


class Story:
    """One account and one database, and chance."""

    def __init__(self, google: GoogleSync, seed: int) -> None:
        self._google = google
        self._chance = random.Random(seed)

    async def step(self) -> None:
        """Something happens at Google; then a run, which may meet a fault."""
        google, chance = self._google, self._chance
        emulator = google.emulator
        names = emulator.account().names()
        picked = chance.sample(names, 9)
        emulator.change(
            create=chance.randrange(4),
            delete=picked[: chance.randrange(3)],
            update=picked[3 : 3 + chance.randrange(3)],
            strip=picked[5 : 5 + chance.randrange(2)],
            rename=picked[6 : 6 + chance.randrange(2)],
            merge=picked[7:9] if chance.random() < 0.3 else (),
        )
        if chance.random() < 0.15:
            emulator.expire()
        if chance.random() < 0.2:
            emulator.end_access()
        if chance.random() < 0.5:
            fault = chance.choice(FAULTS)
            emulator.fault(**fault, page=chance.choice((None, 1, 2, 3)), after=chance.randrange(2))
        google.page_size = chance.choice((7, 20, 1000))
        emulator.switch(
            paging=chance.choice(("stable", "offset")), changes_since=chance.choice(("first-page", "last-page"))
        )
        await google.run(
            *chance.choice((NAMES, NAMES, ("contacts",), ("connections",))),
            mode=chance.choice((Mode.DELTA, Mode.DELTA, Mode.DELTA, Mode.BACKFILL)),
            dry_run=chance.random() < 0.1,
            flush_rows=chance.choice((1, 1000)),
        )
        emulator.clear_faults()

    async def differences(self) -> list[str]:
        """What is not in step. Old names come with changes only, so that the metadata may say more than a listing."""
        found = await self._google.differences()
        return [line for line in found if ": metadata is" not in line]


@pytest.mark.parametrize("seed", range(10))
async def test_whatever_happens_quiet_runs_bring_both_tables_in_step(dsn: str, seed: int) -> None:
    """One is enough, unless it ends a reading that was interrupted while the account moved: then it says what stays."""
    async with google_account(people=45, seed=seed) as account:
        google = GoogleSync(dsn, account)
        story = Story(google, seed)
        for _ in range(STEPS):
            await story.step()
        google.emulator.switch(paging="stable")

        run = await google.run(mode=Mode.DELTA)
        if await story.differences():
            assert any("stay" in (entity.completeness or "") for entity in run.entities), run
            run = await google.run(mode=Mode.DELTA)

        assert run.result == "succeeded", run.error
        assert await story.differences() == []
