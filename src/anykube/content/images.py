"""Images of the cluster's own pods: imported from files on the node, so that no registry is needed.

All are pinned: the kubelet would otherwise remove an unused one when the disk fills up, and could not get it
back.
"""

from __future__ import annotations

from anykube.content import containerd, system
from anykube.content.context import NodeContext
from anykube.content.files import BINARY_MODE
from anykube.content.model import ArtifactFile, Component, File, Text
from anykube.content.paths import CONTAINERD, IMAGES, INPUTS, LIBRARY, install_path
from anykube.content.unit import Service

NAME = "images"
SERVICE = "anykube-images.service"
IMPORT = f"{LIBRARY}/import-images"
MARKERS = f"{CONTAINERD}/anykube-imported"
"""Inside containerd's own folder: whoever removes that, removes what the markers stand for."""

PINNED = "io.cri-containerd.pinned"

_IMPORT = f"""#!/bin/sh
# import-images TAR...
# Gives containerd each image that it does not have yet, all at once, and takes away those that it was given
# earlier and whose file is not wanted any more. The hashes of files are those that the unit was started with.
umask 077
mkdir -p {MARKERS}

import_image() {{
    hash=$(sed -n "s|  $1\\$||p" {INPUTS}/{SERVICE} 2>/dev/null)
    [ -n "$hash" ] || hash=$(sha256sum <"$1" | cut -c -64)
    marker={MARKERS}/${{1##*/}}.$(printf %.16s "$hash")
    [ -e "$marker" ] && return
    $images import --label {PINNED}=pinned "$1" && : >"$marker"
}}
# An image is named after its file, and pinned: one that a person brought there is not.
forget_image() {{
    name=${{1##*/}}
    filter="name~=\\"/${{name%.tar.*}}:\\",labels.\\"{PINNED}\\"==pinned"
    $images ls -q "$filter" | while IFS= read -r image; do
        $images rm "$image"
    done
    rm -f "$1"
}}
images='{install_path("ctr")} -n k8s.io images' wanted=

jobs=
for tar do
    import_image "$tar" &
    jobs="$jobs $!" wanted="$wanted ${{tar##*/}}"
done
for marker in {MARKERS}/*; do
    file=${{marker##*/}}
    case "$wanted " in *" ${{file%.*}} "*) ;; *) [ ! -e "$marker" ] || forget_image "$marker" ;; esac
done
status=0
for job in $jobs; do
    wait "$job" || status=1
done
exit $status
"""


def artifacts(context: NodeContext) -> tuple[str, ...]:
    """The images that a node must have, because any of their pods may be scheduled here."""
    spec = context.cluster.spec
    wanted = {
        "image-pause": True,
        "image-flannel": spec.network.cni.flannel is not None,
        "image-coredns": spec.addons.dns is not None,
        "image-metrics-server": spec.addons.metrics is not None,
    }
    return tuple(name for name, is_wanted in wanted.items() if is_wanted)


def component(context: NodeContext) -> Component:
    """The image files, and a unit that imports those that containerd lacks."""
    names = artifacts(context)
    tars = tuple(install_path(name) for name in names)
    service = Service(
        name=SERVICE,
        description="Import of images into containerd",
        command=(IMPORT, *tars),
        kind="oneshot",
        inputs=(IMPORT, *tars),
        after=(containerd.SERVICE,),
    )
    files = (
        *(File(install_path(name), ArtifactFile(name)) for name in names),
        File(IMPORT, Text(_IMPORT), BINARY_MODE),
        service.file(),
    )
    directories = (("755", "root:root", IMAGES),)
    return Component(NAME, files, service.unit, directories, (containerd.NAME, system.NAME))
