"""The whole web application on a real socket, as people and programs meet it."""

import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx

from keepstep.app import App
from keepstep.config import Settings
from keepstep.service.core import Service
from keepstep.store.db import Connection
from keepstep.web.app import create_app
from keepstep.web.server import Site

ADMIN_TOKEN = "the-admin-token-of-this-test"
PASSWORD = "a few good words"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Spares each client the reading of all certificates: it only speaks to this machine."""


class Served:
    """A Keepstep that serves. ``admin`` is a client with the admin token, ``nobody`` one without credentials."""

    def __init__(
        self, service: Service, app: Any, url: str, admin: httpx.AsyncClient, nobody: httpx.AsyncClient
    ) -> None:
        self.service = service
        self.app = app
        self.url = url
        self.admin = admin
        self.nobody = nobody

    async def user(self, name: str = "ana", role: str = "viewer") -> int:
        """A user with ``PASSWORD``; gives the id."""
        answer = await self.admin.post("/api/admin/users", json={"name": name, "password": PASSWORD, "role": role})
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    async def token(self, role: str, name: str = "") -> dict[str, str]:
        """The header of a new API token."""
        answer = await self.admin.post("/api/admin/tokens", json={"name": name or f"of-{role}", "role": role})
        assert answer.status_code == 201, answer.text
        return {"authorization": f"Bearer {answer.json()['token']}"}

    @asynccontextmanager
    async def signed_in(self, name: str = "ana") -> AsyncIterator[httpx.AsyncClient]:
        """A browser with a session."""
        async with httpx.AsyncClient(base_url=self.url, timeout=60, verify=NO_TLS) as client:
            answer = await client.post("/api/auth/login", json={"name": name, "password": PASSWORD})
            assert answer.status_code == 200, answer.text
            yield client

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection to its database."""
        async with self.service.database.connection() as connection:
            yield connection

    async def sql(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        """The rows of a statement."""
        async with self.connection() as connection:
            cursor = await connection.execute(statement.encode(), parameters or None)
            return await cursor.fetchall() if cursor.description else []


@asynccontextmanager
async def served(dsn: str, home: Path, **environment: str) -> AsyncIterator[Served]:
    """A web application on a database, with these settings."""
    settings = Settings.load(
        {"DATABASE_URL": dsn, "KEEPSTEP_HOME": str(home), "ADMIN_SYNC_TOKEN": ADMIN_TOKEN, **environment}
    )
    async with App(settings).open() as service:
        app = create_app(service, version="test", allowed=settings.allowed_origins)
        with closing(Site(app, "127.0.0.1", 0)) as site:
            level = logging.getLogger("uvicorn").level
            async with site.serving(), _client(site.url, ADMIN_TOKEN) as admin, _client(site.url) as nobody:
                yield Served(service, app, site.url, admin, nobody)
            logging.getLogger("uvicorn").setLevel(level)


def _client(url: str, token: str | None = None) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=60, verify=NO_TLS)
