"""Another application that signs its users in, as the tests see it: its tokens, and its keys on the loopback."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

SECRET = "a-secret-of-the-host-application-0123456789"
AUDIENCE = "authenticated"


def claims(subject: str = "6f1c7a52-0000-4000-8000-00000000000a", **more: Any) -> dict[str, Any]:
    """What a token of Supabase says."""
    return {"sub": subject, "aud": AUDIENCE, "exp": time.time() + 600, "role": "authenticated", **more}


def token(key: Any = SECRET, *, algorithm: str = "HS256", kid: str | None = None, **more: Any) -> str:
    """A token with these claims; one that is None is left out."""
    content = {name: value for name, value in claims(**more).items() if value is not None}
    return jwt.encode(content, key, algorithm=algorithm, headers={"kid": kid} if kid else None)


def bearer(text: str) -> dict[str, str]:
    """The header of a request."""
    return {"authorization": f"Bearer {text}"}


class Keys:
    """Private keys by name, and a page with the public ones that counts who asks."""

    def __init__(self) -> None:
        self.private = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("one", "two")}
        self.shown = ["one"]
        self.asked = 0
        self.status = 200
        self.url = ""

    def page(self) -> str:
        """The JWKS."""
        keys = [
            {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.private[name].public_key())), "kid": name,
             "alg": "ES256", "use": "sig"}
            for name in self.shown
        ]  # fmt: skip
        return json.dumps({"keys": keys})

    async def _answer(self, _request: web.BaseRequest) -> web.Response:
        self.asked += 1
        return web.Response(text=self.page(), status=self.status, content_type="application/json")

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Keys"]:
        """At ``url`` while the block lasts."""
        runner = web.ServerRunner(web.Server(self._answer))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/.well-known/jwks.json"
        try:
            yield self
        finally:
            await runner.cleanup()
