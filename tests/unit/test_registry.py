"""The integrations that exist."""

from dataclasses import replace

import pytest

from keepstep.integrations.registry import Values, integration, integrations
from keepstep.model.errors import BadRequest

VALUES = Values(base_url="https://app.doorloop.com/api", api_key="dl_api_key_Q7W3E9R2T5Y1U8I4O6P0")


def test_each_integration_builds_a_connector_that_agrees_with_its_entry() -> None:
    for key, registered in integrations().items():
        built = registered.build(replace(VALUES, base_url=registered.default_base_url))

        assert (built.key, built.title) == (key, registered.title) == (registered.key, built.title)
        assert built.entities == registered.entities
        assert built.base_url == registered.default_base_url


def test_entities_have_no_column_twice_and_none_that_provenance_uses() -> None:
    for registered in integrations().values():
        for entity in registered.entities:
            assert len(set(entity.columns)) == len(entity.columns)
            assert entity.key not in entity.columns
            assert not any(column.startswith("_") for column in entity.columns)
            assert entity.updated_at in {None, *(field.name for field in entity.fields)}


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(BadRequest) as raised:
        integration("doorlop")
    assert "doorloop" in raised.value.fix

    with pytest.raises(BadRequest) as raised:
        integration("doorloop").entity("lease")
    assert "leases" in raised.value.fix


def test_the_key_is_not_in_the_values_text() -> None:
    assert VALUES.api_key not in repr(VALUES)


def test_mistakes_are_named_before_anything_is_asked() -> None:
    values = Values(base_url="https://api.doorloop.com", api_key="")

    assert len(integration("doorloop").warnings(values)) == 2


def test_the_catalogue_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        integrations()["other"] = integration("doorloop")  # type: ignore[index]
