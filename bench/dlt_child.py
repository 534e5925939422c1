"""dlt bringing the same leases from the same emulator to the same server, metered.

Arguments: DSN, base URL, ``default`` or ``best``, page size, requests in flight.

``default`` is dlt as its documentation introduces it: the declarative ``rest_api`` source, a primary key, and the
write disposition ``merge``. Everything else is left alone: insert-values files, delete and insert from a staging table,
nested lists in tables of their own.

``best`` is what was found to make dlt fastest at work comparable to Keepstep's: CSV files (COPY), the merge strategy
``upsert``, nested values in JSON columns instead of tables of their own, a declared type for every documented field,
files small enough for two processes to normalise. With more than one request in flight the pages are fetched by
threads, which takes a resource written by hand: dlt's page-number paginator asks for one page after the other.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from keepstep.integrations.doorloop.emulator.options import EmulatorOptions
from keepstep.integrations.doorloop.entities import LEASES

WORKERS = {
    "NORMALIZE__WORKERS": "2",
    "NORMALIZE__DATA_WRITER__FILE_MAX_ITEMS": "25000",
    "LOAD__WORKERS": "2",
}
DLT_TYPES = {"numeric": "decimal", "timestamptz": "timestamp", "boolean": "bool", "jsonb": "json"}


def main(dsn: str, base_url: str, kind: str, page_size: int, in_flight: int) -> None:
    """One pipeline run."""
    home = os.environ["BENCH_DLT_HOME"]
    os.environ |= {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "ERROR",
        "DLT_DATA_DIR": home,
        "DLT_PROJECT_DIR": tempfile.mkdtemp(dir=home),
    }
    if kind == "best":
        os.environ |= WORKERS
    import dlt

    from bench.child import metered

    with metered() as told:
        pipeline = dlt.pipeline(
            "bench",
            pipelines_dir=home,
            dataset_name="doorloop",
            destination=dlt.destinations.postgres(dsn),
        )
        if kind == "default":
            pipeline.run(declared(base_url, page_size))
        else:
            pipeline.run(tuned(base_url, page_size, in_flight), loader_file_format="csv")
        counts = pipeline.last_trace.last_normalize_info.row_counts
        told |= {"rows": counts["leases"], "tables": sorted(name for name in counts if not name.startswith("_dlt"))}


def declared(base_url: str, page_size: int) -> Any:
    """The source as a user declares it."""
    from dlt.sources.rest_api import rest_api_source

    return rest_api_source(
        {
            "client": {
                "base_url": base_url,
                "auth": {"type": "bearer", "token": EmulatorOptions().api_key},
                "paginator": {"type": "page_number", "base_page": 1, "page_param": "page_number", "total_path": None},
            },
            "resources": [
                {
                    "name": "leases",
                    "primary_key": "id",
                    "write_disposition": "merge",
                    "endpoint": {"path": "leases", "params": {"page_size": page_size}, "data_selector": "data"},
                }
            ],
        },
        name="doorloop",
    )


def tuned(base_url: str, page_size: int, in_flight: int) -> Any:
    """The same table by the fastest way."""
    import dlt
    from dlt.sources.helpers.rest_client import RESTClient
    from dlt.sources.helpers.rest_client.auth import BearerTokenAuth
    from dlt.sources.helpers.rest_client.paginators import PageNumberPaginator

    client = RESTClient(base_url, auth=BearerTokenAuth(EmulatorOptions().api_key), data_selector="data")
    typed = {field.name: {"data_type": DLT_TYPES.get(field.kind.value, field.kind.value)} for field in LEASES.fields}
    hints: dict[str, Any] = {
        "name": "leases",
        "primary_key": "id",
        "write_disposition": {"disposition": "merge", "strategy": "upsert"},
        "columns": typed,
        "max_table_nesting": 0,
    }

    @dlt.resource(**hints)
    def leases() -> Iterator[Any]:
        paging = PageNumberPaginator(base_page=1, page_param="page_number", total_path=None)
        yield from client.paginate("/leases", params={"page_size": page_size}, paginator=paging)

    @dlt.resource(name="pages")
    def pages() -> Iterator[int]:
        total = client.get("/leases", params={"page_size": 1}).json()["total"]
        yield from range(1, -(-total // page_size) + 1)

    @dlt.transformer(data_from=pages, parallelized=True, **hints)
    def fetched(number: int) -> Any:
        return client.get("/leases", params={"page_size": page_size, "page_number": number}).json()["data"]

    if in_flight == 1:
        return leases()
    os.environ |= {"EXTRACT__WORKERS": str(in_flight), "EXTRACT__MAX_PARALLEL_ITEMS": str(4 * in_flight)}
    return fetched


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
