"""The whole route table."""

from collections.abc import Collection

from fastapi import FastAPI

from keepstep.service.core import Service
from keepstep.service.log import Log
from keepstep.web import (
    accounts_api,
    admin_pages,
    api_agents,
    api_auto_sync,
    api_consent,
    api_integrations,
    api_letters,
    api_log,
    api_owners,
    api_settings,
    api_sync,
    api_sync_types,
    erp_pages,
    feed,
    health,
    metrics,
    owner_pages,
    pages,
    side_pages,
    sign_in,
    static_files,
)
from keepstep.web.openapi import document
from keepstep.web.problems import handle_problems
from keepstep.web.rendering import Pages
from keepstep.web.security import secure
from keepstep.web.shield import Shield


def create_app(service: Service, *, version: str, allowed: Collection[str] = ()) -> FastAPI:
    """The web application. ``version`` is what ``/healthz`` and ``/openapi.json`` give as Keepstep's own, ``allowed``
    the origins of other sites' pages that may use the API with a token.
    """
    # The library's own documentation pages load scripts from elsewhere.
    app = FastAPI(title="Keepstep", version=version, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.include_router(health.router(service.database, version=version))
    app.include_router(metrics.router(service.database, version=version))
    app.include_router(accounts_api.router(service.accounts, service.audit, service.credentials))
    app.include_router(api_integrations.router(service))
    app.include_router(api_sync.router(service))
    app.include_router(feed.router(service.feed))
    app.include_router(api_log.router(Log(service.database)))
    app.include_router(api_letters.router(service))
    app.include_router(api_settings.router(service))
    app.include_router(api_owners.router(service.owners))
    app.include_router(api_consent.router(service.consents))
    app.include_router(api_sync_types.router(service.sync_types))
    app.include_router(api_agents.router(service))
    app.include_router(api_auto_sync.router(service.auto_sync))
    rendered = Pages(version=version)
    app.include_router(static_files.router())
    app.include_router(sign_in.router(service.accounts, rendered))
    app.include_router(pages.router(service, rendered))
    app.include_router(side_pages.router(service, rendered))
    app.include_router(admin_pages.router(service, rendered))
    app.include_router(owner_pages.router(service, rendered))
    app.include_router(erp_pages.router(service, rendered))
    handle_problems(app, pages.problem_page(rendered))
    document(app)
    app.add_middleware(Shield)
    secure(app, service.accounts, allowed=allowed)
    return app
