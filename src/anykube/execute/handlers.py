"""One handler per effect. Every effect may be performed again: what is done already is found done."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime
from pathlib import Path

from anykube.content.backup import sealed_files
from anykube.content.model import ArtifactFile, LocalFile, SecretPart, Source, Text
from anykube.errors import ArtifactError, PlanError
from anykube.events import Sink, StepProgress
from anykube.execute import conditions, etcd_scripts, recovery, road
from anykube.execute.etcd import EtcdHand
from anykube.execute.node import NodeHand
from anykube.execute.snapshot import save_snapshot
from anykube.kube.drain import drain, uncordon
from anykube.kube.ghosts import clear_ghosts
from anykube.kube.rewrite import rewrite_secrets
from anykube.pki.authority import generate, issue
from anykube.pki.rings import turn
from anykube.plan import effects
from anykube.plan.effects import Effect, MemberEffect
from anykube.plan.model import Step
from anykube.ports import Ports


class Performer:
    """Performs the effects of steps, in their order, through the ports."""

    def __init__(self, ports: Ports, emit: Sink) -> None:
        self._ports = ports
        self._emit = emit

    async def __call__(self, step: Step) -> None:
        """All effects of one step."""
        for effect in step.effects:
            # A node refuses an outdated run by itself; everything else relies on this.
            await asyncio.to_thread(self._ports.fence)
            await self._perform(effect, step)

    async def _perform(self, effect: Effect, step: Step) -> None:
        match effect:
            case effects.WaitFor():
                await self._wait(effect)
            case (
                effects.EnsureSite()
                | effects.CreateMachine()
                | effects.StartMachine()
                | effects.DeleteMachine()
                | effects.RemoveSite()
            ):
                await self._ports.provider.perform(effect, self._reporter(step))
            case effects.DrainNode() | effects.UncordonNode() | effects.ForgetNode():
                await self._leave(effect, step)
            case (
                effects.AddMember() | effects.PromoteMember() | effects.RemoveMember() | effects.MoveMember()
            ):
                await self._member(effect)
            case effects.ApplyObjects() | effects.DeleteObjects() | effects.ClearGhosts():
                await self._objects(effect)
            case effects.RewriteSecrets():
                await self._rewrite(step)
            case effects.AddKey() | effects.UseKey() | effects.DropKeys():
                await asyncio.to_thread(turn, self._ports.secrets, effect, datetime.now(UTC))
            case (
                effects.FetchArtifacts()
                | effects.GenerateSecrets()
                | effects.IssueCertificates()
                | effects.SealState()
                | effects.ForgetCluster()
            ):
                await self._here(effect, step)
            case (
                effects.StageFiles()
                | effects.PlaceFiles()
                | effects.KeepFiles()
                | effects.ReturnFiles()
                | effects.ForgetKept()
            ):
                await road.perform(self._hand(effect.node), effect, self._resolve)
            case _:
                await self._on_node(effect)

    async def _here(self, effect: effects.LocalEffect, step: Step) -> None:
        match effect:
            case effects.FetchArtifacts():
                await self._fetch(effect, step)
            case effects.GenerateSecrets(requests):
                await asyncio.to_thread(generate, self._ports.secrets, requests)
            case effects.IssueCertificates(requests):
                await asyncio.to_thread(issue, self._ports.secrets, requests, datetime.now(UTC))
            case effects.SealState():
                await asyncio.to_thread(self._ports.seal)
            case effects.ForgetCluster():
                await asyncio.to_thread(self._ports.forget)

    async def _on_node(self, effect: Effect) -> None:
        match effect:
            case effects.PutFiles(node, files, directories):
                await self._hand(node).put(files, directories)
            case effects.RemovePaths(node, paths):
                await self._hand(node).remove(paths)
            case effects.SetUnit(node, unit, state):
                await self._hand(node).set_unit(unit, state)
            case effects.CleanNode(node):
                await self._hand(node).clean()
            case effects.PlaceState(node):
                await self._hand(node).put(sealed_files(self._ports.sealed()))
            case effects.SetAsideEtcd(node):
                await self._hand(node).script("moving etcd's data aside", etcd_scripts.SET_ASIDE, ())
            case effects.SaveSnapshot(node, file):
                await save_snapshot(self._hand(node), file)
            case _:
                await self._anew(effect)

    async def _anew(self, effect: Effect) -> None:
        """What makes etcd begin anew."""
        match effect:
            case effects.HaltUnits(node):
                await recovery.halt(self._hand(node), effect)
            case effects.UnpackSnapshot(node):
                await recovery.unpack(self._hand(node), effect)
            case effects.BeginAnew(node):
                await recovery.begin_anew(self._hand(node), effect)
            case effects.ReturnEtcd(node):
                await recovery.give_back(self._hand(node), effect)
            case _:
                raise PlanError(f"No handler for {type(effect).__name__}; this is a defect of anykube.")

    def _hand(self, node: str) -> NodeHand:
        record = self._ports.record
        transport, made = self._ports.transport(node), self._ports.made
        return NodeHand(transport, record.lineage, record.epoch, self._resolve, made=made)

    def _resolve(self, source: Source) -> tuple[bytes | Path, str]:
        """The bytes that a file's source names, or where they are, and their sha256."""
        match source:
            case Text(value):
                content = value.encode()
            case SecretPart(secret, part):
                content = self._ports.secrets.part(secret, part).reveal()
            case ArtifactFile(artifact):
                lock = self._ports.lock_file.load()
                if lock is None or artifact not in lock.artifacts:
                    raise ArtifactError(f"{artifact} is not locked.", remedy="anykube artifacts get")
                sha256 = lock.artifacts[artifact].sha256
                return self._ports.store.path(sha256), sha256
            case LocalFile(name, sha256):
                return self._ports.files[name], sha256
        return content, hashlib.sha256(content).hexdigest()

    async def _fetch(self, effect: effects.FetchArtifacts, step: Step) -> None:
        from anykube.artifacts.service import fetch

        lock = await fetch(
            effect.kubernetes,
            effect.names,
            arch=effect.arch,
            source=effect.source,
            mirror=effect.mirror,
            store=self._ports.store,
            lock=self._ports.lock_file.load(),
            report=self._reporter(step),
        )
        self._ports.lock_file.save(lock)

    async def _rewrite(self, step: Step) -> None:
        report = self._reporter(step)

        async def progress(done: int, total: int) -> None:
            report("Secrets", "rewritten", done, total, "objects")
            await asyncio.to_thread(self._ports.fence)

        await rewrite_secrets(self._ports.kube(), progress)

    async def _objects(
        self, effect: effects.ApplyObjects | effects.DeleteObjects | effects.ClearGhosts
    ) -> None:
        kube = self._ports.kube()
        match effect:
            case effects.ApplyObjects(objects):
                for thing in objects:
                    await asyncio.to_thread(self._ports.fence)
                    await kube.apply(thing)
            case effects.DeleteObjects(references):
                for reference in references:
                    await asyncio.to_thread(self._ports.fence)
                    await kube.delete(reference)
            case effects.ClearGhosts(keep):
                await clear_ghosts(kube, keep)

    async def _leave(
        self, effect: effects.DrainNode | effects.UncordonNode | effects.ForgetNode, step: Step
    ) -> None:
        match effect:
            case effects.DrainNode(node, seconds):
                report = self._reporter(step)

                def progress(gone: int, met: int) -> None:
                    report(node, "evicted", gone, met, "pods")

                await drain(self._ports.kube(), node, seconds, str(self._ports.record.epoch), progress)
            case effects.UncordonNode(node):
                await uncordon(self._ports.kube(), node)
            case effects.ForgetNode(node):
                await self._ports.forget_node(node)

    async def _member(self, effect: MemberEffect) -> None:
        match effect:
            case effects.AddMember(node, peer_url, through):
                await EtcdHand(self._hand, through).add(node, peer_url)
            case effects.PromoteMember(node, peer_url, through, seconds):
                await EtcdHand(self._hand, through).promote(node, peer_url, seconds)
            case effects.RemoveMember(node, member_id, through):
                await EtcdHand(self._hand, through).remove(node, member_id)
            case effects.MoveMember(node, member_id, peer_url, through):
                await EtcdHand(self._hand, through).move(node, member_id, peer_url)

    async def _wait(self, effect: effects.WaitFor) -> None:
        condition, remedy = self._condition(effect)
        name = f"{effect.subject} {effect.condition}".strip()
        await conditions.wait_for(name, condition, effect.seconds, remedy=remedy)

    def _condition(self, effect: effects.WaitFor) -> tuple[conditions.Condition, str]:
        subject = effect.subject
        match effect.condition:
            case "ssh":
                return conditions.ssh_answers(self._ports.transport(subject)), "anykube doctor"
            case "api-ready":
                return conditions.api_ready(self._ports.kube()), "anykube logs NODE kube-apiserver"
            case "server-ready":
                remedy = "anykube logs NODE kube-apiserver"
                return conditions.server_ready(self._ports.kube(), subject), remedy
            case "node-ready":
                return conditions.node_ready(self._ports.kube(), subject), f"anykube logs {subject} kubelet"
            case "node-runs":
                node, _, version = subject.partition(" ")
                return conditions.node_runs(self._ports.kube(), node, version), f"anykube logs {node} kubelet"
            case "workload-ready":
                return conditions.workload_ready(self._ports.kube(), subject, effect.absent), "anykube status"
            case "served":
                secret, _, place = subject.partition(" at ")
                address, _, port = place.rpartition(":")
                certificate = self._ports.secrets.part(secret, "certificate").reveal()
                transport = self._ports.transport(secret.split("/")[1])
                look = conditions.served(transport, address, int(port), certificate)
                return look, "look at what listens there: anykube certs"
            case "ca-published":
                bundle = self._ports.secrets.part("ca/cluster", "bundle").reveal()
                remedy = "anykube logs NODE kube-controller-manager"
                return conditions.ca_published(self._ports.kube(), bundle), remedy
            case "endpoint-ready":
                authority = self._ports.secrets.part("ca/cluster", "bundle").reveal()
                return conditions.endpoint_ready(subject, authority), effect.remedy
            case unknown:
                raise PlanError(f"There is no condition {unknown!r}; this is a defect of anykube.")

    def _reporter(self, step: Step) -> _Reporter:
        return _Reporter(self._emit, step.id)


class _Reporter:
    """Turns the progress of long work into events of its step."""

    def __init__(self, emit: Sink, step: str) -> None:
        self._emit = emit
        self._step = step

    def __call__(self, item: str, message: str, done: float | None, total: float | None, unit: str) -> None:
        self._emit(StepProgress(self._step, item, message, done, total, unit))
