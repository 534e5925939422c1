"""What becomes of fields that upstream gives and that are not documented."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class SchemaPolicy(StrEnum):
    """``evolve``: a column of its own, from the next run on. ``keep``: in ``_extra``. ``stop``: the entity fails."""

    EVOLVE = "evolve"
    KEEP = "keep"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class SchemaPolicies:
    """The policy of every entity: ``default``, but for those that have one of their own."""

    default: SchemaPolicy = SchemaPolicy.KEEP
    own: Mapping[str, SchemaPolicy] = field(default_factory=dict)

    def of(self, entity: str) -> SchemaPolicy:
        """The policy of an entity."""
        return self.own.get(entity, self.default)

    def with_own(self, entity: str, policy: SchemaPolicy | None) -> "SchemaPolicies":
        """The same, with another policy for one entity; None: the default."""
        own = {name: kept for name, kept in self.own.items() if name != entity}
        return SchemaPolicies(self.default, own if policy is None else {**own, entity: policy})

    @classmethod
    def parsed(cls, text: str) -> "SchemaPolicies":
        """What a setting says: ``keep``, or ``keep, leases=evolve, units=stop``. Raises ``ValueError``."""
        default, own = SchemaPolicy.KEEP, {}
        for part in (part.strip() for part in text.lower().replace(";", ",").split(",")):
            entity, is_own, policy = part.rpartition("=")
            if is_own and entity.strip():
                own[entity.strip()] = SchemaPolicy(policy.strip())
            elif part:
                default = SchemaPolicy(policy.strip())
        return cls(default, own)

    def __str__(self) -> str:
        return ",".join((self.default, *(f"{entity}={policy}" for entity, policy in sorted(self.own.items()))))
