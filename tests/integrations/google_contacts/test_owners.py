"""The tables of Google Contacts hold the people of every owner, each one's apart."""

from keepstep.integrations.google_contacts.entities import ENTITIES
from tests.support.google import GoogleSync, google_account

_KEY = """
SELECT array_agg(a.attname::text ORDER BY array_position(i.indkey::int[], a.attnum::int)) AS columns
FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indrelid = %s::regclass AND i.indisprimary
"""


async def test_both_tables_have_the_owner_in_their_key_and_the_database_keeps_owners_apart(dsn: str) -> None:
    async with google_account(people=5) as account:
        google = GoogleSync(dsn, account)
        await google.run()

        for entity in ENTITIES:
            table = f"google_contacts.{entity.name}"
            assert await google.value(_KEY, table) == ["owner_id", "id"]
            assert await google.value("SELECT relforcerowsecurity FROM pg_class WHERE oid = %s::regclass", table)
            assert {row["owner_id"] for row in await google.sql(f"SELECT owner_id FROM {table}")} == {"anna"}


async def test_a_person_in_two_owners_accounts_is_two_rows_and_only_the_one_who_deletes_it_loses_it(dsn: str) -> None:
    async with google_account(people=5) as account:
        google = GoogleSync(dsn, account)
        await google.run()
        google.owner = "ben"
        await google.run()
        account.emulator.change(delete=1)
        await google.delta()

        rows = await google.sql("SELECT owner_id, _deleted_at IS NULL AS lives FROM google_contacts.connections")
        count = {(owner, lives): 0 for owner in ("anna", "ben") for lives in (True, False)}
        for row in rows:
            count[row["owner_id"], row["lives"]] += 1
        assert count == {("anna", True): 5, ("anna", False): 0, ("ben", True): 4, ("ben", False): 1}
