"""The JSON Schema of the cluster object: for editors, for other tools, and for the words of our own messages.

Pure. The published copy is `schema/v1alpha1.json`, which a test keeps equal and says how to write anew.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from anykube.spec.model import API_VERSION, Cluster

DIALECT = "https://json-schema.org/draft/2020-12/schema"
IDENTITY = f"https://anykube.dev/schema/{API_VERSION.rpartition('/')[2]}.json"


@cache
def json_schema() -> dict[str, Any]:
    """The schema of one object, with a description of every part. Do not change what is returned."""
    schema = _without_titles(Cluster.model_json_schema(by_alias=True))
    return {"$schema": DIALECT, "$id": IDENTITY, "title": "anykube cluster", **schema}


def _without_titles(schema: Any) -> Any:
    """Titles that pydantic makes up from field names tell nobody anything."""
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_titles(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str))
    }
