"""Pins the Go modules of a component's version: writes src/anykube/artifacts/gomod/<component>-<version>/.

    .venv/bin/python scripts/pin_modules.py kubernetes 1.36.4

Needs Go and a module proxy. Run it for a new version, then add the version to spec/catalog.py; review the
diff of go.sum. The Go version, and Kubernetes' own staging modules, are taken from the component's go.mod.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from anykube.artifacts.sources.gomod import MODULES
from anykube.artifacts.sources.recipes import RECIPES

MODULE_OF = {
    "kubernetes": "k8s.io/kubernetes",
    "etcd": "go.etcd.io/etcd/server/v3",
    "containerd": "github.com/containerd/containerd/v2",
    "cni-plugins": "github.com/containernetworking/plugins",
    "cni-flannel": "github.com/containernetworking/plugins",
    "coredns": "github.com/coredns/coredns",
    "flannel": "github.com/flannel-io/flannel",
    "metrics-server": "sigs.k8s.io/metrics-server",
}
EXTRA: dict[str, tuple[str, ...]] = {
    # The last release that has the flannel plugin is old; these two of its libraries must not be.
    "cni-flannel": ("golang.org/x/sys@v0.35.0", "github.com/buger/jsonparser@v1.1.1"),
    "flannel": ("github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common@v1.3.103",),
}
LEAST_GO = "1.24.0"
STUB = "tencentcloud-vpc"
STUB_OF = "github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/vpc"


def main(component: str, version: str, folder: Path) -> None:
    """Write the pinned module of one component."""
    source = _upstream_go_mod(MODULE_OF[component], version)
    folder.mkdir(parents=True)
    lines = [f"module anykube.dev/build/{component}", f"go {_go_version(source)}"]
    lines += re.findall(r"^godebug .+", source, re.M)
    lines += _replacements(component, version, source)
    if component == "flannel":
        shutil.copytree(next(MODULES.glob(f"flannel-*/{STUB}")), folder / STUB)
    (folder / "go.mod").write_text("\n\n".join(lines) + "\n")
    if component == "flannel":
        _go(folder, "mod", "edit", *(f"-require={extra}" for extra in EXTRA[component]))
    packages = RECIPES[component].packages.values()
    _go(folder, "get", "-tool", *(f"{package}@v{version}" for package in packages))
    if component == "cni-flannel":
        _go(folder, "get", *EXTRA[component])


def _upstream_go_mod(module: str, version: str) -> str:
    answer = _go(Path.cwd(), "mod", "download", "-json", f"{module}@v{version}")
    return Path(json.loads(answer)["GoMod"]).read_text()


def _go_version(source: str) -> str:
    """The component's own, or the least with a pruned module graph and a full list of requirements."""
    found = re.findall(r"^go (\S+)", source, re.M)
    newest: str = max([*found, LEAST_GO], key=lambda text: tuple(map(int, text.split("."))))
    return newest


def _replacements(component: str, version: str, source: str) -> list[str]:
    """Kubernetes' staging modules are released as v0.x.y beside v1.x.y."""
    if component == "flannel":
        return [f"replace {STUB_OF} => ./{STUB}"]
    staging = re.findall(r"^\s+(\S+) => \./staging/", source, re.M)
    if not staging:
        return []
    released = f"v0.{version.partition('.')[2]}"
    return ["\n".join(["replace (", *(f"\t{name} => {name} {released}" for name in staging), ")"])]


def _go(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["go", *arguments], cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    if len(sys.argv) not in {3, 4} or sys.argv[1] not in MODULE_OF:
        sys.exit(f"usage: pin_modules.py {{{','.join(MODULE_OF)}}} VERSION [FOLDER]")
    place = Path(sys.argv[3]) if len(sys.argv) == 4 else MODULES / f"{sys.argv[1]}-{sys.argv[2]}"
    main(sys.argv[1], sys.argv[2], place)
