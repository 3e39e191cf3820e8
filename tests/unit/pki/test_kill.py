"""kill -9 at random moments: the store always loads, pairs match, the authority stays the same."""

from __future__ import annotations

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
from anykube.pki import authority
from anykube.pki.store import SecretStore

ROUNDS = 30
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
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from anykube.content.model import CertificateRequest
from anykube.pki import authority
from anykube.pki.store import SecretStore
store = SecretStore(Path(sys.argv[1]))
requests = eval(sys.argv[2])
print("ready", flush=True)
for line in sys.stdin:
    victim = os.fork()
    if victim == 0:
        while True:
            known = store.names()
            wanted = [request for request in requests if request.authority or request.secret not in known]
            authority.issue(store, wanted, datetime.now(UTC))
            print("passed", flush=True)
    print("victim", victim, flush=True)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(victim, 0)[1]), flush=True)
"""


@contextmanager
def nursery(folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", NURSERY, str(folder), repr(REQUESTS)],
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


def kill_one(process: subprocess.Popen[str], seconds: float, *, after_a_pass: bool) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    victim = int(read_until(process, "victim"))
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
    with nursery(folder) as process:
        for round_ in range(ROUNDS):
            # The first rounds are short: some end while the authorities are being made.
            kill_one(process, chance.uniform(0, 0.01), after_a_pass=round_ >= ROUNDS / 2)
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
