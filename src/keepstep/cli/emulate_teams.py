"""``keepstep emulate teams``: a Teams webhook of one's own."""

import asyncio
from typing import Annotated, Literal

import typer

from keepstep.cli import arguments, render
from keepstep.cli.signals import drive
from keepstep.model.errors import BadRequest

Kind = Literal["taken", "throttled", "429", "401", "404", "500", "503", "413", "302", "hang", "reset"]


def teams(
    port: Annotated[int, typer.Option("--port", "-p", min=0, max=65535, help="Where to listen; 0 takes any.")] = 0,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    answer: Annotated[Kind, typer.Option("--answer", help="What is answered; control can change it.")] = "taken",
    retry_after: Annotated[str, typer.Option("--retry-after", help="Seconds, for 429 and 503.")] = "",
    signature: Annotated[str, typer.Option("--signature", help="The address's secret part; else one is made.")] = "",
    json: arguments.Json = False,
) -> None:
    """Serve an emulated Teams webhook until Ctrl-C, and show what is posted to it."""
    try:
        drive(_serve(host, port, answer, retry_after, signature, json=json))
    except OSError as error:
        raise BadRequest(
            f"The emulator cannot listen on {host} port {port}: {error.strerror or error}.",
            fix="Choose another --port, or leave it out to take a free one.",
        ) from None


async def _serve(host: str, port: int, answer: str, retry_after: str, signature: str, *, json: bool) -> None:
    from keepstep.alerts.emulator import TeamsEmulator

    emulator = TeamsEmulator(signature) if signature else TeamsEmulator()
    emulator.answer(answer, retry_after=retry_after)
    async with emulator.serve(port, host) as hook:
        control = f"{hook.base_url}/_emulator"
        if json:
            told = {"workflow": hook.workflow, "connector": hook.connector, "control": control}
            render.emit(told, one_line=True)
            await asyncio.Event().wait()
        render.say("An emulated Teams webhook takes messages.", style="bold")
        render.say(f"  export INTEGRATIONS_TEAMS_WEBHOOK='{hook.workflow}'")
        render.say(f"  export INTEGRATIONS_TEAMS_WEBHOOK='{hook.connector}'   # a legacy connector")
        render.say(f"  curl -s {control}/messages")
        render.say(f'  curl -s {control}/answers -d \'{{"kind": "throttled", "times": 3}}\'')
        render.say("Ctrl-C ends it.")
        told_of = 0
        while True:
            await hook.wait_for(lambda hook: len(hook.posted) > told_of, patience=float("inf"))  # noqa: B023
            for message in list(hook.posted)[told_of:]:
                render.say(f"{render.moment(message.at)}  {message.status or 'no answer'}  {message.title}")
            told_of = len(hook.posted)
