"""The HTTP application: routes, errors, health. Every route but the two probes asks for a token, the description of the
routes (`/openapi.json`) too; there are no pages for browsers. Where it listens is for the server to say."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Response

from watchkeeper import __version__
from watchkeeper.api import (
    agents,
    authority,
    consent,
    errors,
    incidents,
    ingest,
    objectives,
    people,
    policies,
    rollout,
    timeline,
    trust,
)
from watchkeeper.api.auth import Known
from watchkeeper.api.ledger import routes as ledger
from watchkeeper.api.services import HealthReport, Services


def create(services: Services) -> FastAPI:
    app = FastAPI(title="Watchkeeper", version=__version__, openapi_url=None, docs_url=None, redoc_url=None)
    app.state.services = services
    errors.install(app)
    for part in (
        ingest,
        incidents,
        consent,
        authority,
        agents,
        objectives,
        rollout,
        trust,
        timeline,
        ledger,
        policies,
        people,
    ):
        app.include_router(part.router)
    app.include_router(agents.roster)

    @app.get("/healthz", tags=["probes"])
    async def alive() -> dict[str, str]:
        """Liveness: the process answers. It does not depend on the database."""
        return {"status": "alive", "version": __version__}

    @app.get("/readyz", tags=["probes"])
    async def ready(response: Response) -> HealthReport:
        """Readiness: signals can be made durable and actions recorded."""
        report = services.health()
        response.status_code = 200 if report.acting else 503
        return report

    @app.get("/openapi.json", tags=["description"])
    async def description(caller: Known) -> dict[str, Any]:
        """Every route with the shapes it takes and gives, as OpenAPI."""
        return app.openapi()

    return app
