"""Phase two: machines and what they share, from what exists to what the blueprint says."""

from __future__ import annotations

from collections.abc import Iterator

from anykube.content.model import SecretRequest
from anykube.facts.cluster import Facts
from anykube.facts.machines import MachineFacts, MachineState
from anykube.plan.blueprint import Blueprint, MachineBlueprint, settings_digest
from anykube.plan.effects import (
    CreateMachine,
    DeleteMachine,
    Effect,
    EnsureSite,
    GenerateSecrets,
    StartMachine,
    WaitFor,
)
from anykube.plan.model import LOCAL, Change, Phase, Step

SSH_SECONDS = 90.0
"""Until a machine that was just started answers SSH; LXC needs half a second, clouds a minute."""
SSH_SECRET = SecretRequest("ssh", "ssh-key")
"""The key that anykube uses to reach the machines it makes."""


def plan_provision(facts: Facts, blueprint: Blueprint) -> tuple[Step, ...]:
    """Shared parts first, then all machines at once. Machines that are not wanted go last (plan/leave.py)."""
    if not blueprint.creates:
        return ()
    born = any(_is_born(facts.site.machines.get(name)) for name in blueprint.machines)
    parts = (_ssh_key(facts), *_parts(facts, blueprint, born=born))
    needs = tuple(step.id for step in parts)
    machines = tuple(
        _machine(name, wanted, facts.site.machines.get(name), needs)
        for name, wanted in blueprint.machines.items()
    )
    return (*parts, *machines)


def _ssh_key(facts: Facts) -> Step:
    identity = f"{LOCAL}/ssh-key"
    if SSH_SECRET.secret in facts.secrets:
        return Step(identity, Phase.PROVISION, LOCAL, "SSH key", "exists")
    change = Change("create", "secret", SSH_SECRET.secret, "missing")
    effect = GenerateSecrets((SSH_SECRET,))
    return Step(identity, Phase.PROVISION, LOCAL, "SSH key", "missing", (change,), (effect,))


def _is_born(machine: MachineFacts | None) -> bool:
    """Whether a machine is made in this run."""
    return machine is None or machine.state is MachineState.BROKEN


def _parts(facts: Facts, blueprint: Blueprint, *, born: bool) -> Iterator[Step]:
    """`born`: whether any machine is made from them now. What only new machines need waits for one."""
    previous: tuple[str, ...] = ()
    for part, settings in blueprint.parts.items():
        identity = f"{LOCAL}/{part}"
        existing = facts.site.parts.get(part)
        if existing == settings_digest(settings):
            yield Step(identity, Phase.PROVISION, LOCAL, part, f"{part} is as it should be", needs=previous)
        elif existing is not None and part in blueprint.for_births and not born:
            reason = "no machine is made from it now"
            yield Step(identity, Phase.PROVISION, LOCAL, part, reason, needs=previous)
        else:
            reason = "missing" if existing is None else "its settings differ"
            change = Change("create" if existing is None else "update", "site", part, reason)
            effect = EnsureSite(part, settings)
            yield Step(identity, Phase.PROVISION, LOCAL, part, reason, (change,), (effect,), previous)
        previous = (identity,)


def _machine(
    name: str, wanted: MachineBlueprint, existing: MachineFacts | None, needs: tuple[str, ...]
) -> Step:
    identity = f"{name}/machine"
    create = CreateMachine(name, wanted.address, wanted.settings)
    ssh = WaitFor("ssh", name, SSH_SECONDS)

    def step(action: str, reason: str, *effects: Effect, disruption: str = "") -> Step:
        change = (Change(action, "machine", name, reason),) if effects else ()
        return Step(identity, Phase.PROVISION, name, "machine", reason, change, effects, needs, disruption)

    if existing is None:
        return step("create", f"missing; address {wanted.address}", create, ssh)
    if existing.state is MachineState.BROKEN:
        return step("create", "made in part only; made again", DeleteMachine(name), create, ssh)
    if existing.state is MachineState.STOPPED:
        return step("start", "stopped", StartMachine(name, wanted.address), ssh)
    if existing.settings and existing.settings != settings_digest(wanted.settings):
        return step("update", "its size differs from the object", create)
    return step("keep", f"running at {existing.address}")
