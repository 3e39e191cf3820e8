"""Topologies that are measured: how many machines of each kind. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ALL_ROLES = ("control-plane", "etcd", "worker")


@dataclass(frozen=True, slots=True)
class Shape:
    """So many control planes and workers; etcd on the control planes, or on so many machines of its own.

    One control plane without workers is one machine with all roles.
    """

    planes: int
    workers: int = 0
    etcd: int = 0

    @property
    def name(self) -> str:
        """Such as '1 node', '3+2', or '3+3+2' with separate etcd."""
        if self.size == 1:
            return "1 node"
        parts = (self.planes, self.etcd, self.workers) if self.etcd else (self.planes, self.workers)
        return "+".join(map(str, parts))

    @property
    def label(self) -> str:
        """The name as part of a cluster's name."""
        return self.name.replace(" ", "-").replace("+", "-")

    @property
    def size(self) -> int:
        """How many machines."""
        return self.planes + self.etcd + self.workers

    def pools(self) -> list[dict[str, Any]]:
        """The pools of a cluster object, the control planes first."""
        if self.size == 1:
            return [{"name": "cp", "roles": ALL_ROLES}]
        roles = ALL_ROLES[:1] if self.etcd else ALL_ROLES[:2]
        pools: list[dict[str, Any]] = [{"name": "cp", "roles": roles, "count": self.planes}]
        if self.etcd:
            pools.append({"name": "etcd", "roles": ["etcd"], "count": self.etcd})
        if self.workers:
            pools.append({"name": "worker", "roles": ["worker"], "count": self.workers})
        return pools


def shape(text: str) -> Shape:
    """'1', '1+2', '3+3+2': control planes, workers; with three numbers the second is etcd. ValueError."""
    match [int(part) for part in text.split("+")]:
        case [planes]:
            return Shape(planes)
        case [planes, workers]:
            return Shape(planes, workers)
        case [planes, etcd, workers]:
            return Shape(planes, workers, etcd)
    raise ValueError(f"not a topology: {text!r}; such as 1, 1+2, 3+2, 3+3+2")
