"""One suite for every provider: machines that exist (simulated hosts), and LXC containers on this machine.

A new provider is one `Case` more. The tests that ask for `made` are for providers that make machines.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import asyncssh
import pytest

from anykube.artifacts import service
from anykube.artifacts.store import Store
from anykube.errors import AnykubeError, HostKeyError, ProviderError
from anykube.facts import probe
from anykube.facts.artifacts import ArtifactLock, LockedArtifact
from anykube.facts.machines import MachineState, SiteFacts
from anykube.facts.record import Record
from anykube.paths import cache_dir
from anykube.plan.blueprint import Blueprint, settings_digest
from anykube.plan.effects import CreateMachine, DeleteMachine, EnsureSite, RemoveSite, StartMachine
from anykube.providers.base import Provider
from anykube.providers.lxc import host, recipe
from anykube.providers.lxc import rootfs as lxc_rootfs
from anykube.providers.lxc.layout import Layout
from anykube.providers.lxc.provider import LxcProvider
from anykube.providers.machines.provider import MachinesProvider
from anykube.secret import Secret
from anykube.spec.catalog import DEFAULT_VERSION
from anykube.spec.model import Cluster
from anykube.spec.nodes import nodes
from anykube.testing import simulated_hosts, why_unavailable
from anykube.transports.base import Endpoint
from anykube.transports.ssh import SSHTransport

SSH_SECONDS = 30.0
LARGE = "kubelet"
"""An artifact that is larger than the stamps' threshold."""
LXC_TOOLS = ("lxc-start", "mmdebstrap", "nft")


@dataclass
class Case:
    """A provider under test. `provider` is a new object each time, as in a new process."""

    name: str
    provider: Callable[[], Provider]
    cluster: Cluster
    key: Secret
    record: Record = field(default_factory=lambda: Record("", "test"))
    lock: ArtifactLock | None = None
    stored: Callable[[str], Path] = Path
    folder: Path = Path("/nonexistent")

    @property
    def nodes(self) -> Path:
        """Where the containers are."""
        return self.folder / "lxc" / self.cluster.name / "nodes"

    def machine(self, pool: str) -> str:
        """The name of the first machine of a pool."""
        return next(node.name for node in nodes(self.cluster) if node.pool == pool)

    def blueprint(self) -> Blueprint:
        """What should exist; choices and addresses go to the record, as the workflow does."""
        drawn = self.provider().blueprint(nodes(self.cluster), self.record, self.lock, [])
        addresses = {name: machine.address for name, machine in drawn.machines.items()}
        self.record = replace(self.record, site=dict(drawn.choices), addresses=addresses)
        return drawn

    async def converge(self) -> list[str]:
        """Do what plan/provision.py would; returns what was done."""
        drawn, provider = self.blueprint(), self.provider()
        site = await provider.observe()
        done = []
        for part, settings in drawn.parts.items():
            if site.parts.get(part) != settings_digest(settings):
                await provider.perform(EnsureSite(part, settings), quiet)
                done.append(part)
        for name, wanted in drawn.machines.items():
            found = site.machines.get(name)
            if found and found.state is MachineState.BROKEN:
                await provider.perform(DeleteMachine(name), quiet)
            if found and found.state is MachineState.STOPPED:
                await provider.perform(StartMachine(name, wanted.address), quiet)
            elif not found or found.state is MachineState.BROKEN:
                await provider.perform(CreateMachine(name, wanted.address, wanted.settings), quiet)
            elif not drawn.creates or found.settings == settings_digest(wanted.settings):
                continue
            else:
                await provider.perform(CreateMachine(name, wanted.address, wanted.settings), quiet)
            done.append(name)
        return done

    async def destroy(self) -> None:
        """Do what plan/remove.py would."""
        provider = self.provider()
        site = await provider.observe()
        await asyncio.gather(*(provider.perform(DeleteMachine(name), quiet) for name in site.machines))
        for part in reversed([part for part in self.blueprint().parts if part in site.parts]):
            await provider.perform(RemoveSite(part), quiet)

    async def run(self, machine: str, *argv: str) -> str:
        """Run a command on a machine as soon as it answers, and once: its standard output."""
        endpoint = self.provider().endpoint(machine, self.record.addresses[machine])
        return await run(endpoint, self.key, *argv)


async def run(endpoint: Endpoint, key: Secret, *argv: str) -> str:
    deadline = time.monotonic() + SSH_SECONDS
    while True:
        transport = SSHTransport(endpoint, key)
        try:
            result = await transport.run(list(argv))
        except AnykubeError as error:
            if not error.retryable or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
        else:
            assert result.status == 0, result.stderr
            return result.stdout
        finally:
            await transport.close()


def quiet(*_arguments: object) -> None:
    """A report that nobody reads."""


def make_cluster(name: str, provider: Mapping[str, object], workers: int = 1, **worker: object) -> Cluster:
    pools = [
        {"name": "cp", "roles": ["control-plane", "etcd"], "count": 1},
        {"name": "worker", "roles": ["worker"], "count": workers, **worker},
    ]
    document = {
        "apiVersion": "anykube.dev/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": name},
        "spec": {
            "kubernetes": {"version": "1.36.3"},
            "machines": {"provider": provider, "pools": pools},
        },
    }
    return Cluster.model_validate_json(json.dumps(document))


@pytest.fixture
async def existing(tmp_path: Path) -> AsyncIterator[Case]:
    """Two machines that exist."""
    if reason := why_unavailable():
        pytest.skip(reason)
    async with simulated_hosts(2, tmp_path) as hosts:
        # One user key for both: the object names one.
        for host in hosts[1:]:
            shutil.copy(hosts[0].folder / "user_key.pub", host.folder / "user_key.pub")
        listed = [
            {
                "name": host.name,
                "address": host.endpoint.address,
                "port": host.endpoint.port,
                "hostKey": host.endpoint.host_key.strip(),
                "pool": pool,
            }
            for host, pool in zip(hosts, ("cp", "worker"), strict=True)
        ]
        described = make_cluster("t-machines", {"machines": {"key": "/unused", "hosts": listed}})
        yield Case("machines", lambda: MachinesProvider(described), described, hosts[0].key)


@pytest.fixture(scope="session")
def rootfs() -> Path:
    """The root file system, from the cache of this machine or made now."""
    if os.geteuid() != 0 or any(shutil.which(tool) is None for tool in LXC_TOOLS):
        pytest.skip("LXC nodes need root and the packages lxc, mmdebstrap, nftables")
    machine = host.inspect()
    layout = Layout(Path("/var/lib/anykube/unused"), cache_dir(), "t-lxc-rootfs")
    identity = recipe.settings(machine.suite)["id"]
    asyncio.run(lxc_rootfs.ensure(layout, machine, identity, quiet))
    return layout.layer("rootfs", identity)


@pytest.fixture
async def made(rootfs: Path, tmp_path: Path) -> AsyncIterator[Case]:
    """Two LXC containers, in a cluster and folders of this test alone; nothing of it is there yet."""
    mark = uuid.uuid4().hex[:4]
    number = int(mark, 16)
    folder = Path(f"/var/lib/anykube/test-{mark}")
    (folder / "cache" / "lxc").mkdir(parents=True)
    (folder / "cache" / "lxc" / rootfs.name).symlink_to(rootfs)
    key = asyncssh.generate_private_key("ssh-ed25519")
    subnet = f"10.{200 + number % 40}.{number // 256}.0/24"
    described = make_cluster(f"t-lxc-{mark}", {"lxc": {"subnet": subnet}}, memory=600, cpus=0.5)

    def provider() -> Provider:
        return LxcProvider(
            subject.cluster,
            cache=folder / "cache",
            ssh_public_key=lambda: key.export_public_key().decode(),
            artifact_path=lambda sha256: subject.stored(sha256),
            root=folder / "lxc",
        )

    subject = Case("lxc", provider, described, Secret(key.export_private_key()), folder=folder)
    subject.lock = small_lock(tmp_path, salt=mark)
    subject.stored = lambda sha256: tmp_path / sha256
    try:
        yield subject
        await subject.destroy()
        assert not (folder / "lxc").exists()
    finally:
        remove_rest(subject)


def remove_rest(case: Case) -> None:
    """What a failed test left, and the layers that were made for it."""
    for node in case.nodes.glob("*"):
        subprocess.run(["lxc-stop", "-k", "-P", case.nodes, "-n", node.name], capture_output=True, timeout=60)
    for command in (
        ["ip", "link", "delete", f"ak-{case.cluster.name}"],
        ["nft", "delete", "table", "ip", f"anykube-{case.cluster.name}"],
    ):
        subprocess.run(command, capture_output=True, timeout=10)
    shutil.rmtree(case.folder)


def small_lock(folder: Path, salt: str) -> ArtifactLock:
    """A lock of small files that no other test has."""
    contents = {LARGE: salt.encode() * 400_000, "cni-bridge": f"#!/bin/sh\necho {salt}\n".encode()}
    artifacts = {}
    for name, content in contents.items():
        digest = hashlib.sha256(content).hexdigest()
        (folder / digest).write_bytes(content)
        artifacts[name] = LockedArtifact(name, "1", "amd64", "binary", "test", digest, len(content))
    return ArtifactLock("1.36.3", "amd64", artifacts)


@pytest.fixture(params=["machines", pytest.param("lxc", marks=pytest.mark.e2e)])
def case(request: pytest.FixtureRequest) -> Case:
    fixture = {"machines": "existing", "lxc": "made"}[request.param]
    found: Case = request.getfixturevalue(fixture)
    return found


async def test_machines_are_found_and_answer_with_their_pinned_key(case: Case) -> None:
    await case.converge()
    site = await case.provider().observe()
    assert {name: machine.address for name, machine in site.machines.items()} == case.record.addresses
    assert {machine.state for machine in site.machines.values()} == {MachineState.RUNNING}
    for name in site.machines:
        assert (await case.run(name, "uname", "-n")).strip() == name


async def test_a_machine_with_another_key_is_refused(case: Case) -> None:
    await case.converge()
    name = case.machine("cp")
    endpoint = case.provider().endpoint(name, case.record.addresses[name])
    await run(endpoint, case.key, "true")
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    with pytest.raises(HostKeyError):
        await run(replace(endpoint, host_key=other), case.key, "true")


async def test_a_second_time_nothing_is_done(case: Case) -> None:
    await case.converge()
    name = case.machine("worker")
    before = await case.run(name, "cat", "/proc/sys/kernel/random/boot_id")
    assert await case.converge() == []
    assert await case.run(name, "cat", "/proc/sys/kernel/random/boot_id") == before


async def test_addresses_and_choices_stay(case: Case) -> None:
    first = case.blueprint()
    assert case.blueprint() == first
    assert case.blueprint().choices == first.choices
    assert len({machine.address for machine in first.machines.values()}) == 2 or case.name == "machines"


async def test_what_a_provider_cannot_do_is_refused(case: Case) -> None:
    with pytest.raises(ProviderError):
        await case.provider().perform(EnsureSite("nonsense", {}), quiet)
    with pytest.raises(ProviderError):
        case.provider().endpoint("nobody", "192.0.2.1")


async def test_machines_that_exist_are_left_alone(existing: Case) -> None:
    assert not existing.blueprint().creates
    assert await existing.provider().fresh() is None
    for effect in (CreateMachine("node-1", "127.0.0.1"), DeleteMachine("node-1")):
        with pytest.raises(ProviderError):
            await existing.provider().perform(effect, quiet)
    assert (await existing.run("node-1", "echo", "alive")).strip() == "alive"


@pytest.mark.e2e
async def test_every_effect_done_twice_is_as_done_once(made: Case) -> None:
    drawn, provider = made.blueprint(), made.provider()
    for _ in range(2):
        for part, settings in drawn.parts.items():
            await provider.perform(EnsureSite(part, settings), quiet)
        for name, wanted in drawn.machines.items():
            await provider.perform(CreateMachine(name, wanted.address, wanted.settings), quiet)
            await provider.perform(StartMachine(name, wanted.address), quiet)
    assert await made.converge() == []
    for _ in range(2):
        for name in drawn.machines:
            await provider.perform(DeleteMachine(name), quiet)
        for part in drawn.parts:
            await provider.perform(RemoveSite(part), quiet)
    assert await made.provider().observe() == SiteFacts()


@pytest.mark.e2e
async def test_a_stopped_machine_is_seen_and_started_with_its_disk(made: Case) -> None:
    await made.converge()
    name = made.machine("worker")
    await made.run(name, "sh", "-c", "echo kept >/root/file; echo kept >/var/lib/etcd/file; sync")
    stop(made, name)
    site = await made.provider().observe()
    assert site.machines[name].state is MachineState.STOPPED
    assert await made.converge() == [name]
    assert await made.run(name, "cat", "/root/file", "/var/lib/etcd/file") == "kept\nkept\n"


@pytest.mark.e2e
async def test_after_a_reboot_of_this_machine(made: Case) -> None:
    """A reboot ends the containers and takes the bridge, the firewall table and forwarding away."""
    await made.converge()
    names = list(made.record.addresses)
    keys = [made.provider().endpoint(name, "").host_key for name in names]
    for name in names:
        stop(made, name)
    for command in (
        ["ip", "link", "delete", f"ak-{made.cluster.name}"],
        ["nft", "delete", "table", "ip", f"anykube-{made.cluster.name}"],
    ):
        subprocess.run(command, check=True)
    assert await made.converge() == ["network", *names]
    assert [made.provider().endpoint(name, "").host_key for name in names] == keys
    for name in names:
        assert (await made.run(name, "uname", "-n")).strip() == name


@pytest.mark.e2e
async def test_running_machines_survive_the_loss_of_their_bridge(made: Case) -> None:
    await made.converge()
    name = made.machine("cp")
    before = await made.run(name, "cat", "/proc/sys/kernel/random/boot_id")
    subprocess.run(["ip", "link", "delete", f"ak-{made.cluster.name}"], check=True)
    assert await made.converge() == ["network"]
    assert await made.run(name, "cat", "/proc/sys/kernel/random/boot_id") == before


@pytest.mark.e2e
@pytest.mark.parametrize(
    "damage",
    [
        ["nft", "flush", "chain", "ip", "anykube-{}", "postrouting"],
        ["ip", "address", "add", "203.0.113.9/32", "dev", "ak-{}"],
        ["ip", "-4", "address", "flush", "dev", "ak-{}"],
    ],
)
async def test_a_network_changed_by_hand_is_seen_and_mended(made: Case, damage: list[str]) -> None:
    await made.converge()
    subprocess.run([word.format(made.cluster.name) for word in damage], check=True)
    assert await made.converge() == ["network"]
    assert await made.converge() == []
    assert (await made.run(made.machine("cp"), "echo", "reached")).strip() == "reached"


@pytest.mark.e2e
@pytest.mark.parametrize("rest", [".{}.new", ".{}.gone", "{}"])
async def test_a_half_made_machine_is_broken_and_made_again(made: Case, rest: str) -> None:
    await made.converge()
    name = made.machine("worker")
    await made.provider().perform(DeleteMachine(name), quiet)
    half = made.nodes / rest.format(name)
    (half / "delta" / "etc").mkdir(parents=True)
    site = await made.provider().observe()
    assert site.machines[name].state is MachineState.BROKEN
    assert await made.converge() == [name]
    assert (await made.run(name, "uname", "-n")).strip() == name
    assert sorted(folder.name for folder in made.nodes.iterdir()) == sorted(made.record.addresses)


@pytest.mark.e2e
@pytest.mark.parametrize("moment", range(0, 300, 20))
async def test_killed_at_any_moment_and_run_again(made: Case, moment: int) -> None:
    """kill -9 in the middle of it all; the next run ends as an undisturbed one."""
    await killed_after(made, moment)
    drawn = made.blueprint()
    await made.converge()
    for name in drawn.machines:
        assert (await made.run(name, "uname", "-n")).strip() == name
    assert await made.converge() == []


@pytest.mark.e2e
@pytest.mark.parametrize("moment", range(10, 300, 30))
async def test_killed_at_any_moment_and_destroyed(made: Case, moment: int) -> None:
    await killed_after(made, moment)
    await made.destroy()
    rest = {kind: found for kind, found in traces(made).items() if found}
    assert not rest
    assert sorted(path.name for path in made.folder.iterdir()) == ["cache"]


@pytest.mark.e2e
async def test_nothing_is_left(made: Case) -> None:
    before = traces(made)
    await made.converge()
    for name in made.record.addresses:
        await made.run(name, "true")
    there = {kind: found - before[kind] for kind, found in traces(made).items()}
    assert all(there.values()), there
    await made.destroy()
    rest = {kind: found & there[kind] for kind, found in traces(made).items()}
    assert not any(rest.values()), rest


@pytest.mark.e2e
@pytest.mark.parametrize("started_again", [True, False])
async def test_a_crashed_monitor_leaves_nothing(made: Case, started_again: bool) -> None:
    """With LXC's monitor gone nobody clears up after the container; it is done all the same."""
    await made.converge()
    name = made.machine("worker")
    duration = str(10**6 + int(uuid.uuid4().hex[:5], 16))
    await made.run(name, "sh", "-c", f"setsid sleep {duration} >/dev/null 2>&1 &")
    title = f"[lxc monitor] {made.nodes} {name}"
    (monitor,) = (process for process in processes() if command_line(process).startswith(title))
    os.kill(int(monitor), signal.SIGKILL)
    if started_again:
        await made.converge()
        assert (await made.run(name, "uname", "-n")).strip() == name
    await made.destroy()
    assert traces(made)["groups"] == set()
    assert not [process for process in processes() if f"sleep\0{duration}" in command_line(process)]


@pytest.mark.e2e
async def test_sizes_hold_and_change_without_a_restart(made: Case) -> None:
    await made.converge()
    name = made.machine("worker")
    before = await made.run(name, "cat", "/proc/sys/kernel/random/boot_id")
    assert await memory_limit(made, name) == str(600 * 1024 * 1024)
    provider = {"lxc": {"subnet": made.record.site["subnet"]}}
    made.cluster = make_cluster(made.cluster.name, provider, memory=700, cpus=1.5)
    assert await made.converge() == [name]
    assert await memory_limit(made, name) == str(700 * 1024 * 1024)
    assert await made.run(name, "cat", "/proc/sys/kernel/random/boot_id") == before
    stop(made, name)
    await made.converge()
    assert await memory_limit(made, name) == str(700 * 1024 * 1024)


@pytest.mark.e2e
async def test_software_is_in_place_with_stamps_that_the_probe_believes(made: Case) -> None:
    await made.converge()
    name = made.machine("worker")
    paths = [f"/usr/local/bin/{LARGE}", "/opt/cni/bin/bridge"]
    # A probe that had to hash the file would have made a new stamp.
    stamp = f"/var/lib/anykube/stamps/%usr%local%bin%{LARGE}"
    before = await made.run(name, "stat", "-c", "%z %i", stamp)
    facts = probe.parse(name, await made.run(name, *probe.script(paths, [])))
    assert made.lock is not None
    assert {path: facts.files[path].sha256 for path in paths} == {
        paths[0]: made.lock.artifacts[LARGE].sha256,
        paths[1]: made.lock.artifacts["cni-bridge"].sha256,
    }
    assert {facts.files[path].mode for path in paths} == {"755"}
    assert await made.run(name, "stat", "-c", "%z %i", stamp) == before


@pytest.mark.e2e
async def test_a_fresh_machine_is_as_foretold(made: Case) -> None:
    foretold = await made.provider().fresh()
    await made.converge()
    name = made.machine("cp")
    found = probe.parse(name, await made.run(name, *probe.script([], []))).system
    for trait in (
        "os",
        "os_version",
        "arch",
        "kernel",
        "systemd",
        "container",
        "cgroup",
        "capabilities",
        "mtu",
    ):
        assert getattr(found, trait) == getattr(foretold, trait), trait


@pytest.mark.e2e
async def test_a_node_boots_whole_and_asks_no_dead_name_server(made: Case) -> None:
    await made.converge()
    name = made.machine("cp")
    state = "systemctl is-system-running --wait; systemctl --failed --no-legend --plain"
    assert await made.run(name, "sh", "-c", state) == "running\n"
    # A server that does not answer takes getent at least five seconds.
    asked = "start=$(date +%s); getent hosts nothing.invalid; echo $(($(date +%s) - start))"
    assert int(await made.run(name, "sh", "-c", asked)) <= 2
    assert "ssh_host_ed25519_key" in await made.run(name, "ls", "/etc/ssh")
    assert len((await made.run(name, "cat", "/etc/machine-id")).strip()) == 32


@pytest.mark.e2e
async def test_damaged_or_missing_software_is_refused_and_nothing_kept(made: Case, tmp_path: Path) -> None:
    assert made.lock is not None
    file = tmp_path / made.lock.artifacts[LARGE].sha256
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with pytest.raises(ProviderError, match="damaged"):
        await made.converge()
    file.unlink()
    with pytest.raises(ProviderError, match="not in the store"):
        await made.converge()
    layers = made.folder / "cache" / "lxc"
    assert [path.name for path in layers.iterdir() if path.name.startswith((".", "software"))] == [
        f".software-{settings_digest(made.blueprint().parts['software'])}.lock"
    ]
    file.write_bytes(content)
    await made.converge()


@pytest.mark.e2e
async def test_a_foreign_bridge_is_not_taken_over(made: Case) -> None:
    bridge = f"ak-{made.cluster.name}"
    subprocess.run(["ip", "link", "add", bridge, "type", "bridge"], check=True)
    subprocess.run(["ip", "address", "add", "203.0.113.1/24", "dev", bridge], check=True)
    with pytest.raises(ProviderError, match="did not make"):
        await made.converge()
    shown = subprocess.run(["ip", "address", "show", "dev", bridge], capture_output=True, text=True)
    assert "203.0.113.1/24" in shown.stdout


@pytest.mark.e2e
async def test_the_nodes_of_another_record_are_not_taken_over(made: Case) -> None:
    await made.converge()
    record, described = made.record, made.cluster
    made.record = Record(described.name, "another")
    made.cluster = make_cluster(described.name, {"lxc": {"subnet": "10.254.77.0/24"}})
    with pytest.raises(ProviderError, match="another record"):
        await made.converge()
    made.record, made.cluster = record, described
    assert await made.converge() == []


@pytest.mark.e2e
async def test_a_forward_chain_that_drops_is_passed(made: Case) -> None:
    """As Docker sets it up: everything that is forwarded is dropped unless a rule of that chain accepts."""
    table = f"t-{made.cluster.name}"
    bridge = f"ak-{made.cluster.name}"
    # Only this cluster's packets come to the dropping rule: other tests forward too.
    rules = f"""table inet {table} {{
        chain forward {{ type filter hook forward priority 0; policy drop; jump others; }}
        chain others {{ iifname != "{bridge}" oifname != "{bridge}" accept; }}
    }}"""
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)
    try:
        await made.converge()
        listed = ["nft", "list", "chain", "inet", table, "forward"]
        shown = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
        assert f'iifname "{bridge}" accept' in shown
        assert f'oifname "{bridge}" accept' in shown
        assert await made.converge() == []
        await made.destroy()
        shown = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
        assert "accept" not in shown.replace("others", "")
    finally:
        subprocess.run(["nft", "delete", "table", "inet", table], check=True)


async def killed_after(case: Case, milliseconds: int) -> None:
    """Bring everything up in another process and end it by SIGKILL."""
    case.blueprint()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            asyncio.run(case.converge())
        os._exit(0)
    await asyncio.sleep(milliseconds / 1000)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def stop(case: Case, name: str) -> None:
    subprocess.run(["lxc-stop", "-k", "-P", case.nodes, "-n", name], check=True, timeout=30)


async def memory_limit(case: Case, name: str) -> str:
    files = "/sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max"
    return (await case.run(name, "sh", "-c", f"cat {files} 2>/dev/null || :")).strip()


def traces(case: Case) -> dict[str, set[str]]:
    """Everything on this machine that may come from a cluster; what others make meanwhile is harmless."""
    links = json.loads(output("ip", "-json", "link"))
    folder = str(case.folder / "lxc")
    return {
        "links": {
            link["ifname"]
            for link in links
            if f"ak-{case.cluster.name}" in (link["ifname"], link.get("master"))
        },
        "tables": {
            line for line in output("nft", "list", "tables").splitlines() if case.cluster.name in line
        },
        "groups": {
            str(path)
            for depth in ("*", "*/*")
            for path in Path("/sys/fs/cgroup").glob(depth)
            if case.cluster.name in path.name
        },
        "processes": {
            process for process in processes() if folder in command_line(process) + mounts(process)
        },
        "files": {str(path) for path in (case.folder / "lxc").glob("*")},
    }


def processes() -> list[str]:
    return [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]


def command_line(process: str) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


def mounts(process: str) -> str:
    """What a process has mounted: of a container's processes, its root file system."""
    try:
        return Path(f"/proc/{process}/mounts").read_text(errors="replace")
    except OSError:
        return ""


def output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


@pytest.mark.e2e
async def test_images_are_imported_in_a_new_machine(made: Case) -> None:
    """With the real containerd, on this machine for the layer and in the machine to look at it."""
    store = Store()
    names = ("containerd", "ctr", "image-pause")
    made.lock = await service.fetch(DEFAULT_VERSION, names, arch=service.arch(), store=store)
    made.stored = store.path
    await made.converge()
    name, pause = made.machine("worker"), made.lock.artifacts["image-pause"]
    await made.run(name, "systemd-run", "--quiet", "--unit=containerd", "/usr/local/bin/containerd")
    asked = "until ctr version >/dev/null 2>&1; do sleep 0.05; done; ctr -n k8s.io images ls"
    listed = await made.run(name, "timeout", "20", "sh", "-c", asked)
    (line,) = (line for line in listed.splitlines() if line.startswith(f"{pause.reference} "))
    assert "io.cri-containerd.pinned=pinned" in line
    # Unpacked too: a snapshot can be made of it without any work left.
    assert pause.reference is not None
    assert "unpacked" in await made.run(
        name, "sh", "-c", f"ctr -n k8s.io images check name=={pause.reference} && echo unpacked"
    )
    marker = f"/var/lib/containerd/anykube-imported/pause.tar.{pause.sha256[:16]}"
    await made.run(name, "test", "-e", marker)
    # What a machine does to its own store reaches neither the layer nor the other machine.
    await made.run(name, "ctr", "-n", "k8s.io", "images", "rm", "--sync", pause.reference)
    other = made.machine("cp")
    await made.run(other, "systemd-run", "--quiet", "--unit=containerd", "/usr/local/bin/containerd")
    assert pause.reference in await made.run(other, "timeout", "20", "sh", "-c", asked)
