"""Secrets are counted by the key they are stored under, page by page, whatever bytes they hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from anykube.errors import AnswerError
from anykube.facts.at_rest import PLAIN, parse, script
from anykube.facts.probe_script import ETCD_CLIENT

FAKE = """#!{python}
# etcdctl get FROM TO [--limit=N] [--keys-only|--print-value-only], as etcd 3.6 and 3.7 print it
import sys
begin, end, *options = sys.argv[2:]
limit = next((int(o.split("=")[1]) for o in options if o.startswith("--limit=")), 10**9)
secrets = {secrets!r}
chosen = sorted(name for name in secrets if begin <= name < end)[:limit]
for name in chosen:
    if "--keys-only" in options:
        sys.stdout.write(name + "\\n\\n")
    else:
        sys.stdout.buffer.write(secrets[name] + b"\\n")
"""


def counted(folder: Path, secrets: dict[str, bytes]) -> dict[str, int]:
    """What the script says of an etcd that holds this."""
    client = folder / "etcdctl"
    client.write_text(FAKE.format(python=sys.executable, secrets=secrets))
    client.chmod(0o755)
    *shell, text, name = script()
    argv = [*shell, text.replace(ETCD_CLIENT, str(client)), name]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    return dict(parse("node", done.stdout))


def encrypted(key: str, content: bytes = b"\x00\xff\nk8s:enc\n\x80") -> bytes:
    """A value as the API server stores it."""
    return f"k8s:enc:secretbox:v1:{key}:".encode() + content


def test_counts_over_several_pages(tmp_path: Path) -> None:
    secrets = {f"/registry/secrets/ns/s{number}": encrypted("old") for number in range(250)}
    secrets |= {
        f"/registry/secrets/ns/s{number}.more-{number}": encrypted("new") for number in range(0, 250, 7)
    }
    secrets["/registry/secrets/plain/one"] = b"k8s\x00\n\x0c\n\x02v1\x12\x06Secret"
    secrets["/registry/secretsother/x"] = b"not one of them"
    assert counted(tmp_path, secrets) == {"old": 250, "new": 36, PLAIN: 1}


def test_no_secret_at_all(tmp_path: Path) -> None:
    assert counted(tmp_path, {"/registry/pods/a": b"x"}) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@at-rest\nkeys 3\n",
        "@at-rest\nkeys 1\n      2 k8s:enc:secretbox:v1:a:\n@end\n",
        "@at-rest\nkeys x\n@end\n",
        "@at-rest\nkeys 1\n      1 k8s:enc:secretbox:v1:a\x1b[2J:\n@end\n",
        "hello\n@end\n",
    ],
    ids=["nothing", "cut off", "more than there are", "no number", "control characters", "another program"],
)
def test_what_is_not_understood_is_no_answer(text: str) -> None:
    with pytest.raises(AnswerError, match="not understood"):
        parse("node", text)
