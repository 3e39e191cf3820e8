"""Backups that the nodes of etcd make by themselves: a timer, a service, a script and its settings.

What the script does: content/backup_script.py. The state that it packs is sealed on the machine that applies
(plan/backup.py); the node cannot read it, and needs no anykube.
"""

from __future__ import annotations

import hashlib

from anykube.content import etcd, system
from anykube.content.backup_script import SCRIPT
from anykube.content.certificates import BACKUP_KEY
from anykube.content.context import NodeContext
from anykube.content.files import BINARY_MODE, CONFIG_MODE
from anykube.content.model import Component, File, LocalFile, SecretPart, Text, Unit
from anykube.content.paths import BACKUPS, LIBRARY, OWN_CONFIGS, OWNER, UNITS, install_path
from anykube.content.unit import UNIT_MODE, command_line, render
from anykube.facts.backup import SealedFacts
from anykube.facts.probe_script import ETCD_CLIENT
from anykube.spec.catalog import release
from anykube.spec.model import S3, Backup

NAME = "backup"
SERVICE = "anykube-backup.service"
TIMER = "anykube-backup.timer"
PROGRAM = f"{LIBRARY}/backup"
FOLDER = f"{OWN_CONFIGS}/backup"
SETTINGS = f"{FOLDER}/settings"
RECIPIENTS = f"{FOLDER}/recipients"
STATE = f"{FOLDER}/state.age"
CREDENTIALS = f"{FOLDER}/s3.curl"
SEALED_FILE = "backup/state.age"
CREDENTIALS_FILE = "backup/s3.curl"
"""What ports.py knows the two files by."""
FIRST_SECONDS = 60
"""From the start of the timer to its first backup; a changed setting proves itself at once."""
AGAIN_SECONDS = 300
"""After one that failed, such as while S3 does not answer."""
RESERVE_KIB = 128 * 1024
"""Space that is left to etcd in any case."""
_AMAZON = "https://s3.{region}.amazonaws.com"


def wanted(context: NodeContext) -> Backup | None:
    """The schedule, on nodes that make backups."""
    return context.cluster.spec.backup if context.node.etcd else None


def component(context: NodeContext, backup: Backup) -> Component:
    """All of it but the sealed state, which comes when everything else is done."""
    service = File(f"{UNITS}/{SERVICE}", Text(_service()), UNIT_MODE)
    timer = File(f"{UNITS}/{TIMER}", Text(_timer(backup, _service() + SCRIPT)), UNIT_MODE)
    files = [
        File(PROGRAM, Text(SCRIPT), BINARY_MODE),
        File(SETTINGS, Text(_settings(context, backup)), CONFIG_MODE),
        recipients(backup),
        service,
        timer,
    ]
    files += sealed_files(context.sealed)
    return Component(
        NAME,
        tuple(files),
        Unit(TIMER, (timer.path, service.path), recorded=False),
        (("700", "root:root", FOLDER), ("700", "root:root", BACKUPS)),
        (system.NAME, etcd.NAME),
        programs=("age", "curl") if bucket(backup) else ("age",),
        traces=(f"data {BACKUPS}",),
    )


def bucket(backup: Backup) -> S3 | None:
    """The bucket that archives go to, if any."""
    return backup.to.s3 if backup.to else None


def recipients(backup: Backup) -> File:
    """Who can read the archives: keys of the user's, or the cluster's own."""
    if not backup.recipients:
        return File(RECIPIENTS, SecretPart(BACKUP_KEY.secret, "public"), CONFIG_MODE)
    return File(RECIPIENTS, Text("".join(f"{key}\n" for key in backup.recipients)), CONFIG_MODE)


def sealed_files(sealed: SealedFacts) -> tuple[File, ...]:
    """The sealed state, and a configuration of curl with the key for S3: that is on no command line, and only
    root can read it. What is not there yet is left out."""
    both = ((STATE, SEALED_FILE, sealed.sha256), (CREDENTIALS, CREDENTIALS_FILE, sealed.credentials))
    return tuple(File(path, LocalFile(name, sha256), CONFIG_MODE) for path, name, sha256 in both if sha256)


def bucket_url(s3: S3) -> str:
    """The bucket, addressed by path, as every server understands."""
    return f"{s3.endpoint or _AMAZON.format(region=s3.region)}/{s3.bucket}"


def key_prefix(s3: S3) -> str:
    """What names of objects begin with, '' or ending with '/'."""
    return f"{s3.prefix}/" if s3.prefix else ""


def _settings(context: NodeContext, backup: Backup) -> str:
    """Every value is of a form (spec/patterns.py) that needs no quoting in a shell but for spaces."""
    s3 = bucket(backup)
    versions = release(context.cluster.spec.kubernetes.version)
    values = {
        "CLUSTER": context.cluster.name,
        "NODE": context.node.name,
        "ANYKUBE": context.sealed.anykube,
        "KUBERNETES": versions.kubernetes,
        "ETCD_VERSION": versions.etcd,
        "KEEP": str(backup.keep),
        "BACKUPS": BACKUPS,
        "OWNER": OWNER,
        "STATE": STATE,
        "RECIPIENTS": RECIPIENTS,
        "CREDENTIALS": CREDENTIALS,
        "ETCDUTL": install_path("etcdutl"),
        "CLIENT": ETCD_CLIENT,
        "RESERVE": str(RESERVE_KIB),
        "URL": bucket_url(s3) if s3 else "",
        "REGION": s3.region if s3 else "",
        "PREFIX": key_prefix(s3) if s3 else "",
        # As a query has it; curl signs it as it is.
        "LISTED": key_prefix(s3).replace("/", "%2F") if s3 else "",
    }
    return "".join(f"{name}='{value}'\n" for name, value in values.items())


def _service() -> str:
    """It yields to everything else on the node, and tries again after a failure."""
    return render(
        {
            "Unit": (
                ("Description", "Backup of etcd and of the cluster's keys"),
                ("After", etcd.SERVICE),
                ("StartLimitIntervalSec", "0"),
            ),
            "Service": (
                ("Type", "oneshot"),
                ("ExecStart", command_line((PROGRAM,))),
                ("TimeoutStartSec", "1h"),
                ("Restart", "on-failure"),
                ("RestartSec", str(AGAIN_SECONDS)),
                ("Nice", "10"),
                ("IOSchedulingClass", "idle"),
            ),
        }
    )


def _timer(backup: Backup, runs: str) -> str:
    """Monotonic: a clock that jumps neither skips nor repeats a backup. systemd does not look at keys that
    begin with X-; this one changes the timer, and so restarts it, whenever what it runs changes."""
    return render(
        {
            "Unit": (
                ("Description", "Schedule of backups"),
                ("X-Runs", hashlib.sha256(runs.encode()).hexdigest()[:16]),
            ),
            "Timer": (
                ("OnActiveSec", str(FIRST_SECONDS)),
                ("OnUnitActiveSec", backup.every),
                ("AccuracySec", "10s"),
            ),
            "Install": (("WantedBy", "multi-user.target"),),
        }
    )
