"""What a node can say about a failure: its failed units and the errors they wrote."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from anykube.errors import AnykubeError
from anykube.transports.base import Transport

LINES = 400
SECONDS = 20.0
LONGEST = 300
COLLECT = """systemctl --no-pager --no-legend --plain list-units --failed
journalctl --no-pager --output=cat --lines="$1" --unit="$2" """

# klog: 'E1120 18:47:18.964133     599 file.go:12] text'; containerd and etcd: level=error, "level":"error".
_KLOG_ERROR = re.compile(r"E\d{4} [\d:.]+ +\d+ [\w./-]+:\d+\] (?P<text>.*)")
_OTHER_ERROR = re.compile(r"(?P<text>.*(?:level=(?:error|fatal)|\"level\":\"(?:error|fatal)\").*)")
_CHANGING = re.compile(r"0x[0-9a-f]+|[0-9a-f]{12,}|\d+")


async def collect(transport: Transport, units: Sequence[str]) -> str:
    """The end of the journals of these units on a node. Never raises: a node that is gone says nothing."""
    parts: list[str] = []
    for unit in units:
        try:
            result = await transport.run(["sh", "-c", COLLECT, "sh", str(LINES), unit], seconds=SECONDS)
        except AnykubeError as error:
            return str(error)
        parts.append(f"== {unit}\n{result.stdout}")
    return "\n".join(parts)


def loudest_error(text: str) -> str:
    """The error that was written most often, and how often: '40 times: "x509: certificate has expired"'."""
    found: Counter[str] = Counter()
    sample: dict[str, str] = {}
    for line in text.splitlines():
        match = _KLOG_ERROR.match(line) or _OTHER_ERROR.match(line)
        if match:
            shape = _CHANGING.sub("#", match["text"])
            found[shape] += 1
            sample[shape] = match["text"][:LONGEST]
    if not found:
        return ""
    shape, count = found.most_common(1)[0]
    return f"{count} times: {sample[shape]}"
