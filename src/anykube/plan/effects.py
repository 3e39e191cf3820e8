"""The verbs: everything that anykube can do to the world, as frozen values.

Each has one handler in execute/. Effects refer to secrets and artifacts by name, never by value: a plan
can be printed, saved and compared with `==`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from anykube.content.model import CertificateRequest, File, SecretRequest


@dataclass(frozen=True, slots=True)
class FetchArtifacts:
    """Have these artifacts in the store and in the lock."""

    kubernetes: str
    arch: str
    names: tuple[str, ...]
    source: str
    mirror: str | None


@dataclass(frozen=True, slots=True)
class GenerateSecrets:
    """Make secrets that are not certificates. One that exists is never replaced."""

    requests: tuple[SecretRequest, ...]


@dataclass(frozen=True, slots=True)
class IssueCertificates:
    """Issue these, in this order (authorities first)."""

    requests: tuple[CertificateRequest, ...]


@dataclass(frozen=True, slots=True)
class AddKey:
    """Make one more key beside the one in use: trusted, not used yet. One that is there already stays."""

    request: CertificateRequest | SecretRequest


@dataclass(frozen=True, slots=True)
class UseKey:
    """Use this key of a secret from now on; its others stay trusted."""

    secret: str
    key: str


@dataclass(frozen=True, slots=True)
class DropKeys:
    """Keep this key of a secret only, the one in use."""

    secret: str
    keep: str


@dataclass(frozen=True, slots=True)
class EnsureSite:
    """Have a shared part of the provider: a network, a firewall table, a root file system."""

    part: str
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CreateMachine:
    """Make and start a machine, from nothing or from a broken rest."""

    name: str
    address: str
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StartMachine:
    """Start a machine that is there."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class DeleteMachine:
    """Stop a machine and remove all of it."""

    name: str


@dataclass(frozen=True, slots=True)
class RemoveSite:
    """Remove a shared part."""

    part: str


MachineEffect = EnsureSite | CreateMachine | StartMachine | DeleteMachine | RemoveSite


@dataclass(frozen=True, slots=True)
class PutFiles:
    """Make directories, then place files: each under a temporary name, verified by sha256, then renamed."""

    node: str
    files: tuple[File, ...]
    directories: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class StageFiles:
    """Send software to a node, verified by sha256, and put it beside what runs (content/paths: SOFTWARE)."""

    node: str
    files: tuple[File, ...]


@dataclass(frozen=True, slots=True)
class PlaceFiles:
    """Move staged software to its place: nothing is sent any more."""

    node: str
    files: tuple[File, ...]


@dataclass(frozen=True, slots=True)
class KeepFiles:
    """Keep what is at these paths, as it is before the change that `label` names; what is kept for it already
    stays. What was kept for other changes is removed."""

    node: str
    label: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReturnFiles:
    """Put back what was kept, and restart those of the units, in this order, that run with something else.
    Nothing was kept: nothing is done."""

    node: str
    label: str
    units: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ForgetKept:
    """Remove what was kept for a change that is done."""

    node: str
    label: str


@dataclass(frozen=True, slots=True)
class RemovePaths:
    """Remove files that anykube put on a node and that belong there no more."""

    node: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetUnit:
    """Bring a systemd unit to a state: 'started' (and enabled), 'restarted', 'reloaded', 'stopped' or
    'absent'."""

    node: str
    unit: str
    state: str


@dataclass(frozen=True, slots=True)
class AddMember:
    """Add the etcd member of a node as a learner, through any of the other nodes. One that is there stays."""

    node: str
    peer_url: str
    through: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PromoteMember:
    """Make a learner a voter as soon as it has the leader's data, at most after `seconds`."""

    node: str
    peer_url: str
    through: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class RemoveMember:
    """Remove the etcd member of a node; it hands over leadership first. One that is gone is fine.

    `member_id` is what the plan saw. Refused if too few healthy voters would be left.
    """

    node: str
    member_id: int
    through: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MoveMember:
    """Tell etcd the new peer URL of a member whose node has another address now."""

    node: str
    member_id: int
    peer_url: str
    through: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetAsideEtcd:
    """Stop etcd on a node and move the data of a member that is none any more aside. Nothing is deleted."""

    node: str


@dataclass(frozen=True, slots=True)
class SaveSnapshot:
    """Save all that etcd holds into a file on the node of one member, and verify it. A file that is there
    already, and whole, stays: so a run that was killed keeps the snapshot from before its first change."""

    node: str
    file: str


MemberEffect = AddMember | PromoteMember | RemoveMember | MoveMember


@dataclass(frozen=True, slots=True)
class HaltUnits:
    """Stop units of a node together, until something starts them. What does not end within seconds is killed:
    an API server without etcd would take a minute and a half."""

    node: str
    units: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnpackSnapshot:
    """Verify a snapshot of etcd that lies on a node, and unpack it beside the data, as a cluster of one."""

    node: str
    file: str
    peer_url: str
    token: str


@dataclass(frozen=True, slots=True)
class BeginAnew:
    """Start the etcd of a node as the only member: from what was unpacked, or from its own data, of which a
    copy is kept."""

    node: str
    unpacked: bool


@dataclass(frozen=True, slots=True)
class ReturnEtcd:
    """Give the stopped etcd of a node the data back that it had before run number `since`. What came into its
    place is kept beside. A node whose data stayed is left alone."""

    node: str
    since: int


@dataclass(frozen=True, slots=True)
class ClearGhosts:
    """Delete the Nodes of machines that are no more, all but those in `keep`, and what is bound to them."""

    keep: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DrainNode:
    """Cordon a node and evict its pods, within their PodDisruptionBudgets, at most for `seconds`."""

    node: str
    seconds: float


@dataclass(frozen=True, slots=True)
class UncordonNode:
    """Let pods be placed on a node again."""

    node: str


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Wait until a named condition (execute/conditions.py) holds, at most `seconds`. `remedy`: what helps if
    it does not, '' for what always helps with that condition. `absent`: how many pods of a workload may be
    missing, because their nodes do not run."""

    condition: str
    subject: str
    seconds: float
    remedy: str = ""
    absent: int = 0


@dataclass(frozen=True, slots=True)
class ApplyObjects:
    """Server-side apply these objects, in this order."""

    objects: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class DeleteObjects:
    """Delete objects by reference, '<kind>/<namespace>/<name>'; one that is gone is fine."""

    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RewriteSecrets:
    """Have the API write every Secret anew, so that it is stored under the encryption key in use."""


@dataclass(frozen=True, slots=True)
class CleanNode:
    """Remove from a node everything that its ledger lists, and what those things made."""

    node: str


@dataclass(frozen=True, slots=True)
class ForgetNode:
    """Remove from this machine what belongs to a node that is gone: its certificates, and its connection."""

    node: str


@dataclass(frozen=True, slots=True)
class SealState:
    """Encrypt what is kept here of the cluster, for the backups that nodes make."""


@dataclass(frozen=True, slots=True)
class PlaceState:
    """Place what is sealed on a node: its content is known only when it has been sealed."""

    node: str


@dataclass(frozen=True, slots=True)
class ForgetCluster:
    """Remove record, secrets and runs from this machine."""


RoadEffect = StageFiles | PlaceFiles | KeepFiles | ReturnFiles | ForgetKept
LocalEffect = FetchArtifacts | GenerateSecrets | IssueCertificates | SealState | ForgetCluster
KeyEffect = AddKey | UseKey | DropKeys

Effect = (
    FetchArtifacts
    | GenerateSecrets
    | IssueCertificates
    | AddKey
    | UseKey
    | DropKeys
    | EnsureSite
    | CreateMachine
    | StartMachine
    | DeleteMachine
    | RemoveSite
    | PutFiles
    | StageFiles
    | PlaceFiles
    | KeepFiles
    | ReturnFiles
    | ForgetKept
    | RemovePaths
    | SetUnit
    | AddMember
    | PromoteMember
    | RemoveMember
    | MoveMember
    | SetAsideEtcd
    | SaveSnapshot
    | HaltUnits
    | UnpackSnapshot
    | BeginAnew
    | ReturnEtcd
    | ClearGhosts
    | DrainNode
    | UncordonNode
    | WaitFor
    | ApplyObjects
    | DeleteObjects
    | RewriteSecrets
    | CleanNode
    | ForgetNode
    | SealState
    | PlaceState
    | ForgetCluster
)
