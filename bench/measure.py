"""The order of the measurements, and what is taken down of each."""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.contenders import CHANGED, FIRST, STEPS, Contender, Place, save_text
from bench.stage import Emulator, Server

LATENCY_MS = 50
WARM_UP_LEASES = 200


@dataclass(frozen=True)
class Measurement:
    """One step of one contender. Seconds, bytes; ``cpu`` is the measured process with its children, ``server_cpu`` all
    of PostgreSQL.
    """

    leases: int
    round: int
    contender: str
    step: str
    seconds: float
    cpu: float
    server_cpu: float
    wal: int
    peak_rss: int
    requests: int
    told: dict[str, Any]

    @property
    def rows_per_second(self) -> float:
        """Of all leases that the account has."""
        return self.leases / self.seconds

    @property
    def all_cpu(self) -> float:
        """CPU seconds of the measured process and of PostgreSQL."""
        return self.cpu + self.server_cpu

    def as_json(self) -> dict[str, Any]:
        """For the file of results."""
        return asdict(self)


@dataclass
class Plan:
    """What is to be measured, where, and who hears of each result."""

    server: Server
    directory: Path
    rounds: int
    seed: int
    heard: Callable[[Measurement], None]
    profile: Path | None = None
    steps: tuple[str, ...] = STEPS

    def warm_up(self, contenders: Sequence[Contender]) -> None:
        """Let everything compile and load once, on a few leases."""
        with Emulator(WARM_UP_LEASES, self.seed) as emulator:
            unheard = replace(self, heard=lambda _measurement: None, steps=(FIRST,), profile=None)
            unheard._round(emulator, contenders, WARM_UP_LEASES, 0, {})

    def measure(self, leases: int, contenders: Sequence[Contender]) -> None:
        """All rounds with an account of so many leases, a new one each round: no change of an earlier one is met."""
        files: dict[str, Path] = {}
        for number in range(1, self.rounds + 1):
            with Emulator(leases, self.seed) as emulator:
                self._round(emulator, contenders, leases, number, files)

    def _round(
        self, emulator: Emulator, contenders: Sequence[Contender], leases: int, number: int, files: dict[str, Path]
    ) -> None:
        """Every step, the contenders taking turns within it: what slows the machine down meets all of them."""
        places = {c.key: self._place(emulator, c, files) for c in contenders}
        emulator.command("switches", latency_ms=0)
        for step in self.steps:
            if step == CHANGED:
                emulator.command("changes", entity="leases", update="1%")
            for contender in _turns(contenders, step, number):
                place = places[contender.key]
                self.heard(self._measure(place, contender, step, leases, number))
                if step == FIRST and contender.key.startswith("keepstep") and "text" not in files:
                    files["text"] = save_text(place.dsn, self.directory)
        for contender in contenders:
            self.server.drop(contender.database)

    def _place(self, emulator: Emulator, contender: Contender, files: dict[str, Path]) -> Place:
        self.server.create(contender.database)
        directory = Path(tempfile.mkdtemp(dir=self.directory))
        place = Place(self.server, emulator, contender.database, directory, files=files)
        contender.prepare(place)
        return place

    def _measure(self, place: Place, contender: Contender, step: str, leases: int, number: int) -> Measurement:
        if self.profile and contender.key.startswith("keepstep"):
            place.profile = self.profile / f"{contender.key}, {step}.pstats".replace(" ", "_").replace(",", "")
        place.emulator.command("switches", latency_ms=LATENCY_MS if contender.latency else 0)
        place.emulator.command("requests/reset")
        wal, server_cpu = self.server.wal_position(), self.server.cpu_seconds()
        told = contender.run(place, step)
        measured = Measurement(
            leases=leases,
            round=number,
            contender=contender.key,
            step=step,
            seconds=told["seconds"],
            cpu=told["cpu"] + told["children_cpu"],
            server_cpu=self.server.cpu_seconds() - server_cpu,
            wal=self.server.wal_position() - wal,
            peak_rss=told["peak_rss"],
            requests=place.emulator.requests()["total"],
            told=told,
        )
        self.server.settle(place.database)
        return measured


def _turns(contenders: Sequence[Contender], step: str, number: int) -> Iterable[Contender]:
    """Who does this step, in an order that goes round from round to round; the first round begins with the first."""
    taking = [contender for contender in contenders if step in contender.steps]
    first = max(number - 1, 0) % len(taking) if taking else 0
    return taking[first:] + taking[:first]
