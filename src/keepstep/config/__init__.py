"""What the environment says, as one frozen ``Settings``. Only ``app`` reads it; everyone else gets values as arguments.

A malformed value never stops the program: it is replaced (by the nearest allowed number where that is safe, else by
the default) and reported in ``Settings.problems``, which ``keepstep doctor``, the log and the page show. The variables,
their defaults and ranges stand in ``docs/configuration.md``; a test compares that table with this package.
"""

from keepstep.config.display import Described, describe, masked, masked_database, reference
from keepstep.config.sanity import oddities, unknown_entities
from keepstep.config.settings import DEFAULT_ENTITIES, NAMES, Settings
from keepstep.config.variable import Problem

__all__ = [
    "DEFAULT_ENTITIES",
    "NAMES",
    "Described",
    "Problem",
    "Settings",
    "describe",
    "masked",
    "masked_database",
    "oddities",
    "reference",
    "unknown_entities",
]
