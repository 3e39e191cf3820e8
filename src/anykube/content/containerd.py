"""containerd and runc: the container runtime, and how it fits the host's cgroups."""

from __future__ import annotations

from typing import Any

import tomli_w

from anykube.content import system
from anykube.content.context import NodeContext
from anykube.content.files import CONFIG_MODE, binary
from anykube.content.model import Component, File, Text
from anykube.content.paths import CNI_BINARIES, CONTAINERD, install_path
from anykube.content.unit import Service, oom_score
from anykube.spec.catalog import image_reference, release

NAME = "containerd"
SERVICE = "containerd.service"
FOLDER = "/etc/containerd"
CONFIG = f"{FOLDER}/config.toml"
REGISTRIES = f"{FOLDER}/certs.d"
SOCKET = "unix:///run/containerd/containerd.sock"
CNI_CONFIG = "/etc/cni/net.d"
BINARIES = ("containerd", "containerd-shim-runc-v2", "ctr", "runc")
OOM_RUNTIME = -999
"""As the kubelet's own: the runtime is the last to be killed."""


TASKS = "/run/containerd/io.containerd.runtime.v2.task"
"""A folder per namespace of containerd, in it one per container."""
TRACES = (
    f"data {CONTAINERD}",
    "data /run/containerd",
    "data /run/nri",
    f"containers {TASKS}/k8s.io",
    "mounts /run/containerd/",
    "directory /run/netns",
)

UNUSED_PLUGIN = "io.containerd.internal.v1.opt"
"""It makes /opt/containerd for `ctr install`, which nobody runs here."""


def systemd_cgroups(context: NodeContext) -> bool:
    """Whether systemd makes the cgroups of pods; kubelet and containerd must agree.

    With cgroup v2 there is one tree and systemd owns it. With v1 writing the trees directly is what works
    everywhere, containers included, where systemd does not see all of them.
    """
    return context.system.cgroup == 2


def pause_reference(context: NodeContext) -> str:
    """The image that holds the namespaces of a pod."""
    return image_reference("pause", release(context.cluster.spec.kubernetes.version).pause)


def component(context: NodeContext) -> Component:
    """The runtime's binaries, configuration and unit."""
    service = Service(
        name=SERVICE,
        description="containerd container runtime",
        command=(install_path("containerd"), f"--config={CONFIG}"),
        kind="notify",
        inputs=(CONFIG, *(install_path(name) for name in BINARIES)),
        after=(system.SERVICE,),
        settings=(
            # A restart must leave pods running, so that a change of configuration disrupts nothing.
            ("KillMode", "process"),
            ("Delegate", "yes"),
            ("LimitNPROC", "infinity"),
            ("LimitCORE", "infinity"),
            ("TasksMax", "infinity"),
            *oom_score(context.system.constrained, OOM_RUNTIME),
        ),
    )
    files = (
        *(binary(name) for name in BINARIES),
        File(CONFIG, Text(tomli_w.dumps(_config(context))), CONFIG_MODE),
        service.file(),
    )
    directories = tuple(
        (mode, "root:root", path)
        for mode, path in (
            ("755", FOLDER),
            ("755", REGISTRIES),
            ("755", "/etc/cni"),
            ("755", CNI_CONFIG),
            ("711", CONTAINERD),
        )
    )
    return Component(NAME, files, service.unit, directories, (system.NAME,), traces=TRACES)


def _config(context: NodeContext) -> dict[str, Any]:
    runc = {
        "runtime_type": "io.containerd.runc.v2",
        "options": {"BinaryName": install_path("runc"), "SystemdCgroup": systemd_cgroups(context)},
    }
    runtime = {
        # Without CAP_SYS_RESOURCE runc fails when asked for a score lower than its own.
        "restrict_oom_score_adj": context.system.constrained,
        "containerd": {"default_runtime_name": "runc", "runtimes": {"runc": runc}},
        "cni": {"bin_dirs": [CNI_BINARIES], "conf_dir": CNI_CONFIG},
    }
    images = {
        "pinned_images": {"sandbox": pause_reference(context)},
        "registry": {"config_path": REGISTRIES},
    }
    return {
        "version": 3,
        "root": CONTAINERD,
        "disabled_plugins": [UNUSED_PLUGIN],
        "plugins": {"io.containerd.cri.v1.runtime": runtime, "io.containerd.cri.v1.images": images},
    }
