"""Settings that are well-formed each, and odd together."""

import pytest

from keepstep.config import Settings, oddities

LONG = "0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("environment", "variables"),
    [
        ({}, []),
        ({"KEEPSTEP_SECRET_KEY": LONG, "ADMIN_SYNC_TOKEN": LONG}, []),
        ({"AUTO_SYNC_ENABLED": "false", "AUTO_SYNC_FULL_AT_HOUR_UTC": "5"}, ["AUTO_SYNC_FULL_AT_HOUR_UTC"]),
        ({"AUTO_SYNC_FULL_AT_HOUR_UTC": "5"}, []),
        ({"AUTO_SYNC_ENABLED": "true", "AUTO_SYNC_INTERVAL_MINUTES": "600"}, ["AUTO_SYNC_INTERVAL_MINUTES"]),
        ({"AUTO_SYNC_ENABLED": "true", "AUTO_SYNC_INTERVAL_MINUTES": "360"}, []),
        ({"DOORLOOP_PAGE_SIZE": "3"}, ["DOORLOOP_PAGE_SIZE"]),
        ({"KEEPSTEP_PING_EVERY_MINUTES": "0.1"}, ["KEEPSTEP_PING_EVERY_MINUTES"]),
        ({"KEEPSTEP_PING_EVERY_MINUTES": "0"}, []),
        ({"KEEPSTEP_SECRET_KEY": f"short,{LONG}"}, ["KEEPSTEP_SECRET_KEY"]),
        ({"ADMIN_SYNC_TOKEN": "s3cr3t"}, ["ADMIN_SYNC_TOKEN"]),
    ],
)
def test_what_will_not_do_what_somebody_expects_is_told(environment: dict[str, str], variables: list[str]) -> None:
    found = oddities(Settings.load(environment))

    assert [problem.variable for problem in found] == variables
    for problem in found:
        assert problem.message.endswith(".")
        assert problem.fix
        assert "s3cr3t" not in problem.message + problem.fix
