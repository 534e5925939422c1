"""``keepstep emulate``: an upstream system of one's own. Its flags are the fields of the emulator's options."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import Field, fields
from typing import Annotated, Any, Literal

import typer

from keepstep.cli import render
from keepstep.cli.emulate_teams import teams
from keepstep.cli.exits import Usage
from keepstep.cli.signals import drive
from keepstep.integrations.emulators import Emulated, emulators
from keepstep.model.errors import BadRequest

_HELP = {
    "seed": "Another number gives other data.",
    "owners": "How many records.", "properties": "How many records.", "leases": "How many records.",
    "tenants": "How many records.", "units": "How many records, inactive ones included.",
    "undocumented_fields": "Give some records fields that nobody documented.",
    "padding_bytes": "Make each record larger by about so much.",
    "api_key": "The key that is accepted; empty for any.",
    "raw_key_accepted": "Accept the key without the word bearer too.",
    "forbidden": "Entities that the key's role may not read, with commas.",
    "docs_host": "Answer everything with the documentation site's page.",
    "default_page_size": "Records of a page when none is asked for.", "max_page_size": "Most records of a page.",
    "page_size_over_max": "What becomes of a larger page size.", "sort": "Whether sort_by is honoured.",
    "unknown_sort_field": "What becomes of it.", "filter_active_false": "What filter_active=false gives.",
    "returned_payments": "Under which path.", "portfolios": "Under which path.",
    "pretty": "Indent the JSON.", "shuffle_keys": "Another order of keys at every read.",
    "volatile_field": "A field that differs at every read.",
    "latency_ms": "Delay every answer by so many milliseconds.",
    "rate_per_minute": "Requests a minute before 429; 0 for no limit.",
    "rate_per_hour": "Requests an hour before 429; 0 for no limit.",
    "rate_window_scale": "Shorten or stretch both windows: 0.01 makes a minute last 0.6 s.",
    "rate_scope": "What the limits count.", "rate_headers": "Which headers tell of the limits.",
    "clock_offset_s": "Shift the emulator's clock by so many seconds.",
    "requests_kept": "Requests kept on record.",
}  # fmt: skip
_OWN = {
    "port": (int, 0, "Where to listen; 0 takes a free port.", ("--port", "-p")),
    "host": (str, "127.0.0.1", "Address to listen on; control is for this machine only.", ("--host",)),
    "json": (bool, False, "Print one line of JSON once it serves.", ("--json",)),
}


def group() -> typer.Typer:
    """A command for each emulator."""
    app = typer.Typer(
        name="emulate", no_args_is_help=True, help="Serve an emulated upstream system with invented data."
    )
    app.callback()(_several)
    for emulated in emulators().values():
        app.command(emulated.key, help=f"Serve an emulated {emulated.title} until Ctrl-C.")(_command(emulated))
    app.command()(teams)
    return app


def _several() -> None:
    """Serve an emulated upstream system with invented data."""


def _command(emulated: Emulated) -> Callable[..., None]:
    """A function with a parameter for each of the emulator's options, for Typer to read."""

    def command(**given: Any) -> None:
        host, port, json = given.pop("host"), given.pop("port"), given.pop("json")
        _serve(emulated, given, host=host, port=port, json=json)

    own = [_parameter(name, kind, default, words, flags) for name, (kind, default, words, flags) in _OWN.items()]
    parameters = [*own, *(_switch(option, emulated) for option in fields(emulated.options))]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _switch(option: "Field[Any]", emulated: Emulated) -> inspect.Parameter:
    """One field of the options as a flag: ``latency_ms`` -> ``--latency-ms``."""
    flag, default = f"--{option.name.replace('_', '-')}", option.default
    choices = emulated.choices.get(option.name)
    kind: Any = Literal[choices] if choices else str if isinstance(default, frozenset) else type(default)
    if option.name.endswith(("_ms", "_s")):
        kind = float
    if isinstance(default, frozenset):
        default = ",".join(sorted(default))
    flags = (f"{flag}/--no-{option.name.replace('_', '-')}",) if kind is bool else (flag,)
    words = emulated.meanings.get(option.name) or _HELP[option.name]
    return _parameter(option.name, kind, default, words, flags)


def _parameter(name: str, kind: Any, default: Any, words: str, flags: Sequence[str]) -> inspect.Parameter:
    most = 65535 if name == "port" else None
    option = typer.Option(*flags, help=words, show_default=default not in ("", False), max=most)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _serve(emulated: Emulated, given: dict[str, Any], *, host: str, port: int, json: bool) -> None:
    for option in fields(emulated.options):
        if isinstance(option.default, frozenset):
            given[option.name] = frozenset(part.strip() for part in given[option.name].split(",") if part.strip())
    try:
        options = emulated.options(**given)
    except ValueError as error:
        raise Usage(f"This emulator cannot be: {error}.", fix=f"See: keepstep emulate {emulated.key} --help") from None

    def started(base_url: str) -> None:
        control = base_url.removesuffix(emulated.path) + "/_emulator"
        if json:
            environment = emulated.environment(options, base_url)
            told = {"baseUrl": base_url, "apiKey": options.api_key, "control": control, "environment": environment}
            render.emit(told, one_line=True)
        else:
            _tell(emulated, base_url, options, control)

    try:
        drive(emulated.serve(options, host=host, port=port, started=started))
    except OSError as error:
        raise BadRequest(
            f"The emulator cannot listen on {host} port {port}: {error.strerror or error}.",
            fix="Choose another --port, or leave it out to take a free one.",
        ) from None


def _tell(emulated: Emulated, base_url: str, options: Any, control: str) -> None:
    render.say(f"An emulated {emulated.title} with invented data answers at {base_url}", style="bold")
    render.say()
    for line in usage(emulated, base_url, options):
        render.say(f"  {line}")
    render.say(f"  {emulated.example(options, base_url)}")
    render.say()
    for line in changing(emulated, control):
        render.say(f"  {line}")
    render.say()
    render.say("Ctrl-C ends it.")


def usage(emulated: Emulated, base_url: str, options: Any) -> list[str]:
    """What to type to use an emulator as upstream."""
    return ["export " + " ".join(f"{name}={value}" for name, value in emulated.environment(options, base_url).items())]


def changing(emulated: Emulated, control: str) -> list[str]:
    """What to type to look into an emulator and to change its data."""
    return [
        f"curl -s {control}/state",
        *(f"curl -s {control}/{route} -d '{body}'" for route, body in emulated.commands),
    ]
