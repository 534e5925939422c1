"""A run that has ended, for people: what became of the records, what went wrong, what a dry run found."""

from typing import TYPE_CHECKING, Any

from keepstep.cli import exits, render

if TYPE_CHECKING:
    from keepstep.service.shapes import EntityRun, RunSummary

_COUNTS = (">rows", ">inserted", ">updated", ">unchanged", ">deleted", ">dead-\nlettered", ">requests")


def exit_code(run: "RunSummary") -> int:
    """0, 1 for a run that failed or was ended, 3 where a person has something to decide."""
    if run.result not in ("succeeded", "held"):
        return exits.FAILED
    would_be_held = any((entity.report or {}).get("wouldBeHeld") for entity in run.entities)
    needs_a_person = run.result == "held" or run.dead_lettered or would_be_held
    return exits.NEEDS_A_PERSON if needs_a_person else exits.OK


def show(run: "RunSummary") -> None:
    """The summary, what a dry run found, and what to do next."""
    counts(run)
    if run.dry_run:
        for entity in run.entities:
            _findings(entity)
    errors(run)
    _next_steps(run)


def counts(run: "RunSummary") -> None:
    """The table of an ended run."""
    rows: list[list[object]] = [[e.entity, *_numbers(e)] for e in run.entities]
    columns = ["entity", *_COUNTS]
    if len(rows) > 1:
        rows.append(["total", *_numbers(run)])
    if any(_state(run, e) != "succeeded" for e in run.entities):  # an 80-column terminal has no room to say it in vain
        columns.append("result")
        for row, entity in zip(rows, run.entities, strict=False):
            row.append(_state(run, entity))
    kind = f"dry run, {run.mode}" if run.dry_run else run.mode
    title = f"Run {run.run_id} of {run.integration} ({kind}): {run.result}, {render.duration(run.duration_ms)}"
    render.table(columns, rows, title=title)
    for entity in run.entities:
        if entity.completeness and not entity.completeness.startswith("complete:"):
            render.say(f"{entity.entity}: {entity.completeness}.", style="dim")
        for reason, count in entity.skipped.items():
            render.say(f"{entity.entity}: {count:,} {reason.replace('_', ' ')}.", style="dim")
    if run.dry_run:
        render.say("Nothing was written: this is what a run would do.", style="bold")


def errors(run: "RunSummary") -> None:
    """Each error once, with its fix, on stderr."""
    told: set[str] = set()
    whole = None if run.result == "stopped" else run.error  # a stopped run may keep the reason of a wait
    for error, about in [(whole, ""), *((entity.error, f"{entity.entity}: ") for entity in run.entities)]:
        if error is not None and error["message"] not in told:
            told.add(error["message"])
            render.complain(about + error["message"], error.get("fix", ""))


def _state(run: "RunSummary", entity: "EntityRun") -> str:
    if entity.state == "pending":
        return "not reached" if run.finished_at else "pending"
    return f"{entity.state} (resumed)" if entity.resumed else entity.state


def _numbers(counted: "EntityRun | RunSummary") -> list[object]:
    return [
        counted.rows,
        counted.inserted,
        counted.updated,
        counted.unchanged,
        counted.deleted,
        counted.dead_lettered,
        counted.requests,
    ]


def _next_steps(run: "RunSummary") -> None:
    if run.dead_lettered and not run.dry_run:
        render.note(f"{run.dead_lettered:,} records could not be applied; see: keepstep dlq list", style="yellow")
    if run.result == "held":
        render.note("Deletions wait for you; see: keepstep held list", style="yellow")
    if run.result == "stopped":
        render.note("What was committed stays; the next run goes on from there.", style="yellow")


def _findings(entity: "EntityRun") -> None:
    """The delta report of one entity."""
    report = entity.report
    if report is None or not _differs(report):
        return
    render.say()
    render.say(f"{entity.entity} would change:", style="bold")
    for words in report["schema"]:
        render.say(f"  {words}")
    if report["wouldBeHeld"]:
        render.say(f"  the {report['deleted']:,} deletions would be held for approval", style="yellow")
    if report["changedColumns"]:
        columns = ", ".join(f"{name} ({times:,})" for name, times in report["changedColumns"].items())
        render.say(f"  changed columns: {columns}")
    for sample in report["samples"]:
        _sample(sample)
    for letter in report["deadLetters"]:
        render.say(
            f"  dead letter {letter['recordKey'] or '(no id)'}: {render.short(letter['reason'], 160)}", style="red"
        )


def _differs(report: dict[str, Any]) -> bool:
    return any(report[name] for name in ("inserted", "updated", "deleted", "deadLettered", "schema"))


def _sample(sample: dict[str, Any]) -> None:
    change = sample["change"]
    style = render.COLOURS.get(change, "")
    if "columns" not in sample:
        values = sorted(sample.get("after", {}).items(), key=lambda pair: (pair[0] != "name", pair[0] == "id"))
        after = ", ".join(f"{name}={render.short(value, 24)}" for name, value in values[:3])
        render.say(f"  {change} {sample['key']}" + (f": {after}, …" if after else ""), style=style)
        return
    render.say(f"  {change} {sample['key']}", style=style)
    for name, (before, after) in sample["columns"].items():
        render.say(f"    {name}: {_value(before)} -> {_value(after)}")


def _value(value: Any) -> str:
    return "null" if value is None else render.short(value, 70)
