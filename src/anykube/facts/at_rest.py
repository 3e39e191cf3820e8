"""Under which encryption key each Secret is stored: asked of etcd on a node, because the API does not tell.

The API server puts 'k8s:enc:<provider>:v1:<key>:' before what it has encrypted. Only that comes to us.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from anykube.errors import AnswerError
from anykube.facts.probe_script import ETCD_CLIENT

PLAIN = ""
"""In place of a key's name: not encrypted."""
ANSWER_LIMIT = 1024 * 1024
_TEXT = f"""
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
newline='
'
read_range() {{ {ETCD_CLIENT} get "$@" --write-out=simple; }}
echo '@at-rest'
from=/registry/secrets/
while :; do
    keys=$(read_range "$from" /registry/secrets0 --limit=200 --keys-only) || exit 1
    keys=$(printf '%s\\n' "$keys" | grep .) || break
    # No name has a character below '-': nothing lies between a key and the same with '!'.
    next="${{keys##*"$newline"}}!"
    printf 'keys %s\\n' "$(printf '%s\\n' "$keys" | wc -l)"
    read_range "$from" "$next" --print-value-only |
        grep -a -o '^k8s:enc:[a-z]*:v[0-9]*:[^:]*:' | sort | uniq -c
    from=$next
done
echo '@end'
"""
_COUNT = re.compile(r"keys +(\d{1,9})")
_ENCRYPTED = re.compile(r" *(\d{1,9}) k8s:enc:[a-z]+:v\d+:([A-Za-z0-9._-]{1,100}):")


def script() -> list[str]:
    """The argument list that counts the Secrets by their key. For a node with a member of etcd."""
    return ["sh", "-c", _TEXT, "anykube-at-rest"]


def parse(name: str, text: str) -> Mapping[str, int]:
    """How many Secrets are stored under each key; PLAIN for those that are not encrypted."""
    _, found, body = text[: ANSWER_LIMIT + 1].partition("@at-rest\n")
    whole, ended, _ = body.rpartition("@end\n")
    total, counts = 0, Counter[str]()
    for line in whole.splitlines():
        if match := _COUNT.fullmatch(line):
            total += int(match[1])
        elif match := _ENCRYPTED.fullmatch(line):
            counts[match[2]] += int(match[1])
        else:
            ended = ""
    plain = total - counts.total()
    if len(text) > ANSWER_LIMIT or not found or not ended or plain < 0:
        raise AnswerError(
            f"{name}: how Secrets are stored is not understood.",
            evidence=[f"{len(text)} characters, ending in {text[-80:]!r}"],
            remedy=f"anykube logs {name} etcd",
        )
    return {**counts, **({PLAIN: plain} if plain else {})}
