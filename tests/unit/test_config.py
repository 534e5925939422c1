"""Settings: what is taken, what is replaced and reported, and what people get to see."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from keepstep.config import (
    NAMES,
    Settings,
    describe,
    masked,
    masked_database,
    reference,
    unknown_entities,
)

KNOWN = ("owners", "properties", "units", "leases", "tenants")
ROOT = Path(__file__).parents[2]


def shown(settings: Settings, variable: str) -> str:
    return next(line.value for line in describe(settings) if line.variable == variable)


def test_an_empty_environment_gives_the_defaults_and_no_problem() -> None:
    settings = Settings.load({})

    assert settings.problems == ()
    assert settings.locked == frozenset()
    assert settings.home == Path.cwd() / ".keepstep"
    assert (settings.host, settings.port) == ("127.0.0.1", 8787)
    assert settings.database_url is None
    assert settings.doorloop_base_url == "https://app.doorloop.com/api"
    assert (settings.doorloop_page_size, settings.doorloop_max_concurrency, settings.doorloop_rate_limit_rps) == (
        100,
        2,
        4.0,
    )
    assert (settings.auto_sync_enabled, settings.auto_sync_interval_minutes) == (False, 10)
    assert settings.auto_sync_full_at_hour_utc is None
    assert settings.sync_entities == KNOWN
    assert settings.allow_manual_backfill is True
    assert (settings.drop_guard_percent, settings.drop_guard_floor) == (50, 20)


def test_the_real_environment_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPSTEP_PORT", "9001")

    assert Settings.load().port == 9001


@pytest.mark.parametrize(
    ("variable", "field", "text", "value"),
    [
        ("KEEPSTEP_PORT", "port", " 0 ", 0),
        ("KEEPSTEP_HOST", "host", "::1", "::1"),
        ("KEEPSTEP_HOST", "host", "sync.example.test", "sync.example.test"),
        ("DOORLOOP_PAGE_SIZE", "doorloop_page_size", "1000", 1000),
        ("DOORLOOP_RATE_LIMIT_RPS", "doorloop_rate_limit_rps", "0.5", 0.5),
        ("AUTO_SYNC_ENABLED", "auto_sync_enabled", "TRUE", True),
        ("AUTO_SYNC_ENABLED", "auto_sync_enabled", "0", False),
        ("AUTO_SYNC_FULL_AT_HOUR_UTC", "auto_sync_full_at_hour_utc", "0", 0),
        ("AUTO_SYNC_FULL_AT_HOUR_UTC", "auto_sync_full_at_hour_utc", "23", 23),
        ("SYNC_ENTITIES", "sync_entities", " Owners , units,,owners", ("owners", "units")),
        ("SYNC_ENTITIES", "sync_entities", "owners units", ("owners", "units")),
        ("KEEPSTEP_DROP_GUARD_PERCENT", "drop_guard_percent", "100", 100),
        (
            "KEEPSTEP_ALLOWED_ORIGINS",
            "allowed_origins",
            "https://CRM.test/ http://a.test:80",
            ("https://crm.test", "http://a.test:80"),
        ),
        ("KEEPSTEP_BREAKER_COOLDOWN_S", "breaker_cooldown_s", "0.2", 0.2),
    ],
)
def test_a_good_value_is_taken_and_locked(variable: str, field: str, text: str, value: object) -> None:
    settings = Settings.load({variable: text})

    assert getattr(settings, field) == value
    assert settings.locked == {variable}
    assert settings.problems == ()


@pytest.mark.parametrize(
    ("variable", "field", "text", "value"),
    [
        ("DOORLOOP_PAGE_SIZE", "doorloop_page_size", "5000", 1000),
        ("DOORLOOP_PAGE_SIZE", "doorloop_page_size", "0", 100),
        ("DOORLOOP_PAGE_SIZE", "doorloop_page_size", "many", 100),
        ("DOORLOOP_PAGE_SIZE", "doorloop_page_size", "9" * 5000, 100),
        ("DOORLOOP_MAX_CONCURRENCY", "doorloop_max_concurrency", "0", 1),
        ("DOORLOOP_RATE_LIMIT_RPS", "doorloop_rate_limit_rps", "nan", 4.0),
        ("DOORLOOP_RATE_LIMIT_RPS", "doorloop_rate_limit_rps", "-1", 4.0),
        ("DOORLOOP_BASE_URL", "doorloop_base_url", "app.example.test/api", "https://app.doorloop.com/api"),
        ("DOORLOOP_BASE_URL", "doorloop_base_url", "https://[::1/api", "https://app.doorloop.com/api"),
        *(
            ("KEEPSTEP_ALLOWED_ORIGINS", "allowed_origins", text, ())
            for text in ("*", "crm.test", "https://crm.test/app", "https://a@crm.test")
        ),
        ("AUTO_SYNC_ENABLED", "auto_sync_enabled", "perhaps", False),
        ("AUTO_SYNC_INTERVAL_MINUTES", "auto_sync_interval_minutes", "1", 2),
        ("AUTO_SYNC_INTERVAL_MINUTES", "auto_sync_interval_minutes", "2.5", 10),
        ("AUTO_SYNC_FULL_AT_HOUR_UTC", "auto_sync_full_at_hour_utc", "24", None),
        ("KEEPSTEP_PORT", "port", "abc", 8787),
        ("KEEPSTEP_PORT", "port", "65536", 8787),
        ("KEEPSTEP_HOST", "host", "http://127.0.0.1", "127.0.0.1"),
        ("KEEPSTEP_HOST", "host", "[::1]", "127.0.0.1"),
        ("KEEPSTEP_HOME", "home", "~no-such-user-of-keepstep/x", Path.cwd() / ".keepstep"),
        ("KEEPSTEP_DROP_GUARD_PERCENT", "drop_guard_percent", "300", 50),
        ("KEEPSTEP_DROP_GUARD_FLOOR", "drop_guard_floor", "-3", 20),
        ("KEEPSTEP_BREAKER_THRESHOLD", "breaker_threshold", "0", 5),
        ("SYNC_ENTITIES", "sync_entities", " , ", KNOWN),
        ("DATABASE_URL", "database_url", "mysql://app:hunter2@db.example.test/app", None),
        ("DATABASE_URL", "database_url", "'postgresql://app:hunter2@db.example.test/app'", None),
        ("DATABASE_URL", "database_url", "postgresql+asyncpg://app:hunter2@db.example.test/app", None),
        ("ADMIN_SYNC_TOKEN", "admin_token", "hunter2 with spaces", None),
        ("KEEPSTEP_SECRET_KEY", "secret_key", ",,", None),
        ("INTEGRATIONS_TEAMS_WEBHOOK", "teams_webhook", "hunter2", None),
    ],
)
def test_a_bad_value_is_replaced_and_reported_with_a_fix(variable: str, field: str, text: str, value: object) -> None:
    settings = Settings.load({variable: text})

    assert getattr(settings, field) == value
    (problem,) = settings.problems
    assert problem.variable == variable
    assert problem.message.startswith(variable)
    assert problem.fix.endswith(".")
    assert "hunter2" not in problem.message + problem.fix + repr(settings)
    assert variable in settings.locked


def test_every_bad_value_is_reported_at_once_and_in_the_order_of_the_documentation() -> None:
    settings = Settings.load({"KEEPSTEP_DROP_GUARD_FLOOR": "x", "KEEPSTEP_PORT": "x", "AUTO_SYNC_ENABLED": "x"})

    assert [problem.variable for problem in settings.problems] == [
        "KEEPSTEP_PORT",
        "AUTO_SYNC_ENABLED",
        "KEEPSTEP_DROP_GUARD_FLOOR",
    ]


def test_an_empty_or_blank_value_counts_as_not_given() -> None:
    settings = Settings.load(dict.fromkeys(NAMES, "") | {"DOORLOOP_API_KEY": "  "})

    assert settings == Settings.load({})


def test_a_long_value_is_not_repeated_because_it_may_be_a_key_in_the_wrong_place() -> None:
    key = "dl_0123456789abcdef0123456789abcdef"
    settings = Settings.load({"DOORLOOP_PAGE_SIZE": key, "AUTO_SYNC_ENABLED": key, "SYNC_ENTITIES": key})

    said = repr(settings.problems + unknown_entities(settings, KNOWN))
    assert key not in said
    assert "a value of 35 characters" in said


def test_the_api_key_is_handed_on_as_it_was_typed() -> None:
    settings = Settings.load({"DOORLOOP_API_KEY": ' "bearer dl_1" '})

    assert settings.doorloop_api_key is not None
    assert settings.doorloop_api_key.get_secret_value() == ' "bearer dl_1" '
    assert settings.problems == ()


@given(st.fixed_dictionaries({}, optional={name: st.text(max_size=40) for name in NAMES}))
def test_nothing_in_the_environment_makes_loading_fail(environ: dict[str, str]) -> None:
    settings = Settings.load(environ)

    assert {problem.variable for problem in settings.problems} <= settings.locked
    for line in describe(settings):
        line.value.encode()
        line.note.encode()


def test_bytes_that_are_not_text_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.setitem(os.environb, name.encode(), b"\xff\xfe")

    settings = Settings.load()

    assert [problem.variable for problem in settings.problems] == list(NAMES)
    assert [line.value for line in describe(settings)] == [line.value for line in describe(Settings.load({}))]


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings.load({}).port = 1


def test_a_relative_home_is_resolved_against_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert Settings.load({"KEEPSTEP_HOME": "data/here"}).home == tmp_path / "data" / "here"
    assert Settings.load({}).home == tmp_path / ".keepstep"


def test_a_working_directory_that_is_gone_does_not_stop_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert Settings.load({}).home.name == ".keepstep"


def test_several_secret_keys_are_given_newest_first() -> None:
    settings = Settings.load({"KEEPSTEP_SECRET_KEY": "new-key, old-key"})

    assert [key.get_secret_value() for key in settings.secret_keys] == ["new-key", "old-key"]
    assert Settings.load({}).secret_keys == ()


def test_an_unknown_entity_is_reported_with_the_known_ones() -> None:
    settings = Settings.load({"SYNC_ENTITIES": "owners,unitz"})

    (problem,) = unknown_entities(settings, KNOWN)
    assert "'unitz'" in problem.message
    assert problem.fix == "Did you mean units? Known are owners, properties, units, leases, tenants."


def test_a_misspelt_variable_is_reported_and_a_foreign_one_is_not() -> None:
    settings = Settings.load({"DOORLOOP_APIKEY": "dl_1", "KEEPSTEP_SERVICE_PORT": "1", "PATH": "/bin"})

    (problem,) = settings.problems
    assert problem.fix == "Did you mean DOORLOOP_API_KEY?"
    assert "dl_1" not in problem.message


def test_no_secret_is_shown() -> None:
    secrets = {
        "DATABASE_URL": "postgresql://app:hunter2@db.example.test:5432/app?sslpassword=hunter2",
        "KEEPSTEP_DIRECT_DATABASE_URL": "postgresql://app:hunter2@direct.example.test/app",
        "KEEPSTEP_SECRET_KEY": "hunter2-one-that-is-long-enough,hunter2-two",
        "ADMIN_SYNC_TOKEN": "abcd-hunter2-hunter2-hunter2-wxyz",
        "DOORLOOP_API_KEY": "hunter2",
        "DOORLOOP_BASE_URL": "https://me:hunter2@upstream.example.test/api",
        "INTEGRATIONS_TEAMS_WEBHOOK": "https://flows.example.test/workflows/hunter2/invoke?sig=hunter2",
    }
    settings = Settings.load(secrets)

    assert "hunter2" not in repr(describe(settings)) + repr(settings).replace("me:hunter2", "")
    assert shown(settings, "DATABASE_URL") == "postgresql://app:••••@db.example.test:5432/app?sslpassword=••••"
    assert shown(settings, "KEEPSTEP_DIRECT_DATABASE_URL") == "postgresql://app:••••@direct.example.test/app"
    assert shown(settings, "KEEPSTEP_SECRET_KEY") == "••••, ••••"
    assert shown(settings, "ADMIN_SYNC_TOKEN") == "abcd…wxyz"
    assert shown(settings, "DOORLOOP_API_KEY") == "••••"
    assert shown(settings, "INTEGRATIONS_TEAMS_WEBHOOK") == "https://flows.example.test/…••••"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://db.example.test/app", "postgresql://db.example.test/app"),
        ("postgresql://app@db.example.test:5433/app", "postgresql://app@db.example.test:5433/app"),
        ("postgres://app:p@ss/w:rd@db.example.test/app", "postgres://app:••••@db.example.test/app"),
        ("postgresql:///app?host=/run/db&password=a%26b", "postgresql:///app?host=/run/db&password=••••"),
        ("host=db.example.test password='a b\\' c' user=app", "host=db.example.test password=•••• user=app"),
        ("host=db.example.test password = secret", "host=db.example.test password = ••••"),
    ],
)
def test_a_database_address_is_shown_without_its_password(given: str, expected: str) -> None:
    assert masked_database(given) == expected


def test_a_short_secret_shows_none_of_its_characters() -> None:
    assert masked("dl_a1234567") == "••••"
    assert masked("dl_a" + "0" * 20 + "1f3c") == "dl_a…1f3c"


def test_each_value_is_shown_with_its_source() -> None:
    lines = {
        line.variable: line
        for line in describe(
            Settings.load({"KEEPSTEP_PORT": "abc", "DOORLOOP_PAGE_SIZE": "5000", "AUTO_SYNC_ENABLED": "1"})
        )
    }

    assert list(lines) == list(NAMES)
    assert (lines["KEEPSTEP_PORT"].value, lines["KEEPSTEP_PORT"].source) == ("8787", "default")
    assert "not a whole number" in lines["KEEPSTEP_PORT"].note
    assert (lines["DOORLOOP_PAGE_SIZE"].value, lines["DOORLOOP_PAGE_SIZE"].source) == ("1000", "environment")
    assert (lines["AUTO_SYNC_ENABLED"].value, lines["AUTO_SYNC_ENABLED"].source) == ("true", "environment")
    assert (lines["KEEPSTEP_HOST"].value, lines["KEEPSTEP_HOST"].note) == ("127.0.0.1", "")
    assert lines["DATABASE_URL"].value == "embedded PostgreSQL"


def test_the_documented_table_says_what_the_settings_say() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = [
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in text.splitlines()
        if re.match(r"\| `[A-Z_]+` \|", line)
    ]

    assert rows == [
        (f"`{name}`", f"`{default}`" if " " not in default and default != "none" else default, accepts, meaning)
        for name, default, accepts, meaning in reference()
    ]
