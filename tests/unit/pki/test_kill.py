"""kill -9 at random moments and at every line that writes: pairs match, and the authority stays the same."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from anykube.content.model import CertificateRequest
from anykube.facts.secrets import SecretFacts
from anykube.pki import authority
from anykube.pki.store import SecretStore

NOW = datetime.now(UTC)
ROUNDS = 20
REQUESTS = (
    CertificateRequest("ca/cluster", "", "kubernetes", days=3650),
    CertificateRequest("ca/etcd", "", "etcd-ca", days=3650),
    *(
        CertificateRequest(f"nodes/n{node}/kubelet", "ca/cluster", f"system:node:n{node}", client=True)
        for node in range(3)
    ),
)

# Imports once, then forks a victim for each line it reads: a victim starts in a millisecond.
NURSERY = """
import os, signal, sys, tempfile
from datetime import UTC, datetime
from pathlib import Path
from anykube.content.model import CertificateRequest
from anykube.pki import authority
from anykube.pki.store import SecretStore
requests = eval(sys.argv[1])

def issue_for_ever(folder):
    store = SecretStore(folder)
    while True:
        known = store.names()
        wanted = [request for request in requests if request.authority or request.secret not in known]
        authority.issue(store, wanted, datetime.now(UTC))
        print("passed", flush=True)

def issue_until_line(folder, last):
    left = int(last)
    def trace(frame, event, argument):
        nonlocal left
        if frame.f_code.co_name not in ("make_folder", "remove_leftovers", "write_file", "_create", "_link"):
            return None
        left -= event == "line"
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)
    store = SecretStore(folder)
    authority.issue(store, [requests[0], requests[2]], datetime.now(UTC))
    authority.issue(store, [requests[2]], datetime.now(UTC))

# Once here, so that no victim spends its time on what is loaded at first use.
with tempfile.TemporaryDirectory() as folder:
    authority.issue(SecretStore(Path(folder, 'secrets')), requests, datetime.now(UTC))
print("ready", flush=True)
for line in sys.stdin:
    folder, *last = line.split()
    victim = os.fork()
    if victim == 0:
        issue_until_line(Path(folder), *last) if last else issue_for_ever(Path(folder))
        os._exit(0)
    print("victim", victim, flush=True)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(victim, 0)[1]), flush=True)
"""


@contextmanager
def nursery() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", NURSERY, repr(REQUESTS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        read_until(process, "ready")
        yield process


def read_until(process: subprocess.Popen[str], word: str) -> str:
    """What follows `word` on the next line that begins with it."""
    assert process.stdout is not None
    for line in process.stdout:
        first, _, rest = line.strip().partition(" ")
        if first == word:
            return rest
    raise AssertionError(f"the nursery ended before it said {word!r}")


def start_victim(process: subprocess.Popen[str], *words: object) -> int:
    assert process.stdin is not None
    process.stdin.write(" ".join(map(str, words)) + "\n")
    process.stdin.flush()
    return int(read_until(process, "victim"))


def kill_one(process: subprocess.Popen[str], folder: Path, seconds: float, *, after_a_pass: bool) -> None:
    victim = start_victim(process, folder)
    if after_a_pass:
        read_until(process, "passed")
    time.sleep(seconds)
    os.kill(victim, signal.SIGKILL)
    assert int(read_until(process, "ended")) == -signal.SIGKILL


def test_pairs_and_authorities_survive_kill(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    store = SecretStore(folder)
    chance = random.Random(8)
    seen: dict[str, str] = {}
    caught_in_the_act = changed = 0
    with nursery() as process:
        for round_ in range(ROUNDS):
            # The first rounds are short: some end while the authorities are being made.
            kill_one(process, folder, chance.uniform(0, 0.01), after_a_pass=round_ >= ROUNDS / 2)
            caught_in_the_act += any(folder.rglob("*.tmp"))
            for name, facts in store.facts().items():
                assert facts.certificate is not None
                if facts.certificate.authority:
                    assert (
                        seen.setdefault(name, facts.certificate.fingerprint) == facts.certificate.fingerprint
                    )
                else:
                    changed += seen.get(name) != facts.certificate.fingerprint
                    seen[name] = facts.certificate.fingerprint
                    assert facts.certificate.issuer == seen["ca/cluster"]
    assert caught_in_the_act, "no kill hit a write: this test proved nothing"
    assert changed > ROUNDS
    authority.issue(store, [request for request in REQUESTS if request.authority], datetime.now(UTC))
    assert not any(path.name.startswith(".kubelet") for path in folder.rglob("*.tmp"))


def test_a_kill_at_any_line_that_writes_loses_nothing(tmp_path: Path) -> None:
    ca, leaf = REQUESTS[0], REQUESTS[2]
    found: set[tuple[str, ...]] = set()
    with nursery() as process:
        for line in itertools.count():
            store = SecretStore(tmp_path / str(line) / "secrets")
            start_victim(process, store.folder, line)
            status = int(read_until(process, "ended"))
            before = store.facts()
            found.add(tuple(before))
            # What the planner would ask for next.
            authority.issue(store, [request for request in (ca, leaf) if request.secret not in before], NOW)
            after = store.facts()
            assert {name: after[name] for name in before} == before
            assert issuer(after[leaf.secret]) == issuer(after[ca.secret])
            if status != -signal.SIGKILL:
                break
    assert status == 0
    assert line > 50
    assert found == {(), (ca.secret,), (ca.secret, leaf.secret)}


def issuer(facts: SecretFacts) -> str:
    assert facts.certificate is not None
    return facts.certificate.issuer
