"""What cannot be observed again: the record of a cluster, as a value. state/record.py reads and writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Record:
    """One per cluster. `lineage` never changes; `serial` grows with each write; `epoch` with each run.

    `site` holds what the provider chose (such as the subnet), `addresses` the address of each node.
    `departing` holds, as JSON, machines that were listed in the object and are to be cleaned.
    `born`: etcd of this cluster has served; it is never founded a second time.
    `object` is the text of the cluster object that was applied last, `source` the file it came from.
    """

    name: str
    lineage: str
    serial: int = 0
    epoch: int = 0
    site: Mapping[str, str] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)
    object: str = ""
    source: str = ""
    departing: Mapping[str, str] = field(default_factory=dict)
    born: bool = False
