"""A person brings up a cluster from the example, uses it, and runs apply again: nothing happens."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import stat
from functools import partial
from pathlib import Path

import pytest
from tests.e2e import doors
from tests.e2e.hardening import breaches
from tests.e2e.story import Answer, Story, eventually

from anykube import workflow
from anykube.session import Folders, Session
from anykube.spec.load import load

pytestmark = pytest.mark.e2e

MOST_ROUND_TRIPS = 3
IMAGE = "anykube.local/flannel:0.28.4"
"""An image that is on every node and has busybox."""
GREETING = "hello from the other node"
SERVE = "exec busybox httpd -f -p 8080 -h /www"


@pytest.fixture(scope="module")
def first(story: Story) -> Answer:
    """The answer of the apply that made the cluster."""
    story.write_example("demo.yaml", "demo")
    return story.apply()


@pytest.fixture
def cluster(story: Story, first: Answer) -> Story:
    """The cluster, up."""
    return story


def pod(name: str, node: str, command: str) -> dict[str, object]:
    """A pod on a certain node, placed by the scheduler."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}],
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "busybox",
                    "image": IMAGE,
                    "imagePullPolicy": "Never",
                    "command": ["/bin/busybox", "sh", "-c", command],
                    "env": [{"name": "PATH", "value": "/bin"}],
                }
            ],
        },
    }


def service(name: str, port: int) -> dict[str, object]:
    """A Service in front of the pod of that name."""
    spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def test_apply_tells_its_phases_and_their_times(first: Answer) -> None:
    for phase in ("artifacts", "provision", "bootstrap", "addons"):
        assert re.search(rf"^{phase} .* [\d.]+ s$", first.stderr, re.MULTILINE), first.stderr


def test_a_pod_finds_services_by_name_and_reaches_the_other_node(cluster: Story) -> None:
    wanted = [
        pod("web", cluster.node("cp"), f"busybox mkdir /www && echo {GREETING} >/www/index.html && {SERVE}"),
        pod("client", cluster.node("worker"), "exec busybox sleep 3600"),
        service("web", 8080),
    ]
    cluster.kubectl(
        "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": wanted})
    )
    cluster.kubectl("wait", "--for=condition=Ready", "pod/web", "pod/client", "--timeout=60s")
    placed = {item["metadata"]["name"]: item["spec"]["nodeName"] for item in cluster.objects("pods")}
    assert placed == {"web": cluster.node("cp"), "client": cluster.node("worker")}

    address = next(item["status"]["podIP"] for item in cluster.objects("pods", "-l", "app=web"))
    assert "10.96.0.1" in inside(cluster, "nslookup", "kubernetes.default.svc.cluster.local")
    for host, port in ((address, "8080"), ("web.default.svc", "80"), ("web", "80")):
        eventually(partial(greeted, cluster, host, port), 30)


def inside(cluster: Story, *argv: str) -> str:
    """Run busybox in the client pod."""
    return cluster.kubectl("exec", "client", "--", "/bin/busybox", *argv, check=False)


def greeted(cluster: Story, host: str, port: str) -> str:
    """Whether the client pod gets the greeting. By nc, as busybox's wget crashes in a static glibc."""
    request = r"printf 'GET / HTTP/1.0\r\n\r\n'"
    answer = inside(cluster, "sh", "-c", f"{request} | busybox nc -w 3 {host} {port}")
    return "" if GREETING in answer else f"{host}:{port} answered {answer!r}"


def test_a_second_apply_changes_and_restarts_nothing(cluster: Story) -> None:
    before = cluster.starts()
    answer = cluster.apply()
    assert "0 changes" in answer.stderr
    assert cluster.restarted_since(before) == set()
    plan = cluster.run("plan", "-c", cluster.name, "--detailed-exitcode")
    assert "0 changes" in plan.stdout


def test_a_second_apply_asks_each_node_at_most_three_times(
    cluster: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips: dict[str, int] = {}

    class CountingSession(Session):
        async def close(self) -> None:
            trips.update({name: transport.round_trips for name, transport in self._transports.items()})
            await super().close()

    monkeypatch.setattr(workflow, "Session", CountingSession)
    text = cluster.file.read_text()
    report = asyncio.run(
        workflow.apply(
            load(text, "cluster.yaml"),
            text=text,
            approve=lambda plan: False,
            folders=Folders(state=cluster.state),
        )
    )
    assert report.unchanged
    assert set(trips) == set(cluster.nodes)
    assert all(0 < count <= MOST_ROUND_TRIPS for count in trips.values()), trips


def test_status_is_healthy(cluster: Story) -> None:
    answer = cluster.run("status", "-c", cluster.name, "-o", "json", "--check")
    status = answer.json["status"]
    assert answer.json["healthy"] is True
    assert {node["name"]: node["state"] for node in status["nodes"]} == dict.fromkeys(cluster.nodes, "Ready")
    assert min(certificate["days"] for certificate in status["certificates"]) > 300
    table = cluster.run("status", "-c", cluster.name).stdout
    assert all(node in table for node in cluster.nodes)


def test_the_kubeconfig_works_and_is_private(cluster: Story) -> None:
    path = Path(cluster.run("kubeconfig", "-c", cluster.name, "--path").stdout.strip())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == cluster.run("kubeconfig", "-f", str(cluster.file)).stdout
    assert cluster.ready_nodes() == set(cluster.nodes)
    assert cluster.kubectl("auth", "can-i", "*", "*").strip() == "yes"


def test_exec_passes_arguments_streams_and_the_exit_status_on(cluster: Story) -> None:
    worker = cluster.node("worker")
    script = "hostname; echo oops >&2; exit 7"
    answer = cluster.run("exec", worker, "-c", cluster.name, "--", "sh", "-c", script, status=7)
    assert (answer.stdout, answer.stderr) == (f"{worker}\n", "oops\n")
    hostile = "$(id) `id` ; id 'a' \"b\" \\ * é"
    answer = cluster.run("exec", worker, "-c", cluster.name, "--", "printf", "%s", hostile)
    assert answer.stdout == hostile
    cluster.run("exec", "nobody", "-c", cluster.name, "--", "true", status=64)


def test_logs_shows_the_journal_of_a_component(cluster: Story) -> None:
    answer = cluster.run("logs", cluster.node("cp"), "kube-apiserver", "-c", cluster.name, "-n", "5")
    assert len(answer.stdout.splitlines()) == 5
    assert "kube-apiserver" in answer.stdout
    assert "kubelet" not in answer.stdout
    cluster.run("logs", cluster.node("cp"), "sshd", "-c", cluster.name, status=64)


def test_secrets_are_encrypted_in_etcd_and_kept_out_of_the_audit_log(cluster: Story) -> None:
    marker = "canary-7f3a9c"
    cluster.kubectl("create", "secret", "generic", "hidden", f"--from-literal=value={marker}")
    cluster.kubectl("create", "configmap", "plain", f"--from-literal=value={marker}")
    stored = in_etcd(cluster, "/registry/secrets/default/hidden")
    assert "k8s:enc:secretbox:v1:" in stored
    assert marker not in stored
    assert marker in in_etcd(cluster, "/registry/configmaps/default/plain")
    audit = cluster.on(cluster.node("cp"), "cat", "/var/log/kubernetes/audit.log")
    events = [json.loads(line) for line in audit.splitlines()]
    references = [event.get("objectRef", {}) for event in events]
    assert any(found.get("resource") == "secrets" and found.get("name") == "hidden" for found in references)
    assert marker not in audit
    assert base64.b64encode(marker.encode()).decode() not in audit


def in_etcd(cluster: Story, key: str) -> str:
    """A value as it is stored."""
    pki = "/etc/kubernetes/pki"
    credentials = (f"--cert={pki}/apiserver-etcd.crt", f"--key={pki}/apiserver-etcd.key")
    etcdctl = ("etcdctl", "--endpoints=https://127.0.0.1:2379", f"--cacert={pki}/etcd-ca.crt", *credentials)
    return cluster.on(cluster.node("cp"), *etcdctl, "get", key, "--print-value-only")


def test_etcd_serves_only_clients_of_its_own_authority(cluster: Story, tmp_path: Path) -> None:
    address = cluster.address(cluster.node("cp"))
    mine = f"nodes/{cluster.node('cp')}"
    own = doors.context(tmp_path, cluster.secrets, f"{mine}/apiserver-etcd")
    nobody = doors.context(tmp_path)
    other_use = doors.context(tmp_path, cluster.secrets, "users/super-admin")
    stranger = doors.context(tmp_path, doors.stranger(tmp_path), "etcd-client")
    assert doors.get(address, 2379, "/version", own) == 200
    for how in (nobody, other_use, stranger):
        assert doors.get(address, 2379, "/version", how) == 0
        assert doors.get(address, 2380, "/version", how) == 0


def test_kubelets_and_the_api_serve_nobody_without_credentials(cluster: Story, tmp_path: Path) -> None:
    nobody = doors.context(tmp_path)
    for node in cluster.nodes:
        address = cluster.address(node)
        for path in ("/pods", "/metrics", "/healthz", "/exec/default/client/busybox"):
            assert doors.get(address, 10250, path, nobody) == 401
        for port in (10255, 10248, 10249, 10256, 2381):
            assert port == 10256 or not doors.is_open(address, port), f"{node} listens on {port}"
    api = cluster.address(cluster.node("cp"))
    for path in ("/livez", "/readyz", "/healthz"):
        assert doors.get(api, 6443, path, nobody) == 200
    for path in (
        "/",
        "/api",
        "/version",
        "/metrics",
        "/openapi/v3",
        "/api/v1/namespaces/kube-system/secrets",
    ):
        assert doors.get(api, 6443, path, nobody) == 401, path
    for port in (10257, 10259):
        assert not doors.is_open(api, port)


def test_files_on_nodes_have_the_modes_of_the_benchmark(cluster: Story) -> None:
    found = [
        *breaches(cluster, cluster.node("cp"), control_plane=True),
        *breaches(cluster, cluster.node("worker"), control_plane=False),
    ]
    assert found == []


def test_no_key_is_where_it_does_not_belong(cluster: Story, first: Answer) -> None:
    saved = cluster.folder / "plan.json"
    plan = cluster.run("plan", "-c", cluster.name, "-o", "json", "--out", str(saved), "--full")
    status = cluster.run("status", "-c", cluster.name, "-o", "json")
    places = {
        "output of apply": first.stdout + first.stderr,
        "output of plan": plan.stdout + plan.stderr,
        "saved plan": saved.read_text(),
        "output of status": status.stdout + status.stderr,
        "record": (cluster.record / "record.json").read_text(),
        "journal of the runs": "".join(path.read_text() for path in cluster.record.glob("runs/*/*")),
    }
    processes = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"
    for node in cluster.nodes:
        places[f"journal of {node}"] = cluster.on(node, "journalctl", "--no-pager")
        places[f"processes of {node}"] = cluster.on(node, "sh", "-c", processes, check=False)
    canaries = private_lines(cluster)
    assert len(canaries) > 20
    on_node = cluster.on(cluster.node("cp"), "cat", "/etc/kubernetes/pki/apiserver.key")
    assert any(canary in on_node for canary in canaries), "the search would not find a key"
    found = {place for place, text in places.items() for canary in canaries if canary in text}
    assert found == set()
    assert all(places.values()), "a place is empty: nothing was searched"


def private_lines(cluster: Story) -> set[str]:
    """A line from within every private key and of the key of encryption at rest."""
    texts = [path.read_text() for path in (cluster.record / "secrets").rglob("*") if path.is_file()]
    blocks = [
        block for text in texts for block in re.findall(r"PRIVATE KEY-----\n(.*?)\n-----END", text, re.S)
    ]
    secretbox = re.findall(r"secret: *\"?([A-Za-z0-9+/=]{40,})", "".join(texts))
    assert secretbox
    return {max(block.splitlines(), key=len) for block in blocks} | set(secretbox)
