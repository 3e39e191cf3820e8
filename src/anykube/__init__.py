"""anykube: brings up and keeps Kubernetes clusters anywhere.

This is the library; the command line is made of nothing else. A cluster object goes in, a cluster comes out:

    import asyncio
    import anykube

    cluster = anykube.load_file("cluster.yaml")     # SpecError names every problem with its line
    anykube.validate(cluster)                       # the addresses, against this machine
    for node in anykube.nodes(cluster):
        print(node.name, *node.roles)

    async def main():
        plan = await anykube.make_plan(cluster)         # reads only; a value to print, save, compare
        print(*anykube.plan_lines(plan), sep="\\n")

    asyncio.run(main())

To go on: `await apply(cluster, text=..., approve=lambda plan: True, emit=print)` makes it so and can be run
again after any stop; `status`, `doctor`, `run_on`, `journal_of` and `destroy` take the cluster too. Events
(`anykube.events`) tell how a run goes, errors (`anykube.errors`) what happened, the evidence and the remedy.
Names are loaded when first used: importing anykube costs nothing. `plan` and `checkup` are rooms of the
house, so these two calls are named `make_plan` and `doctor`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anykube import errors as errors
    from anykube import events as events
    from anykube.access import AdminKubeconfig as AdminKubeconfig
    from anykube.access import admin_kubeconfig as admin_kubeconfig
    from anykube.access import journal_of as journal_of
    from anykube.access import run_on as run_on
    from anykube.access import write_kubeconfig as write_kubeconfig
    from anykube.adopt import adopt as adopt_cluster
    from anykube.certificates import certificates as list_certificates
    from anykube.checkup import checkup as doctor
    from anykube.errors import AnykubeError as AnykubeError
    from anykube.errors import SpecError as SpecError
    from anykube.events import Event as Event
    from anykube.execute.engine import StopFlag as StopFlag
    from anykube.facts.checks import Check as Check
    from anykube.facts.checks import Verdict as Verdict
    from anykube.objectfile import load_file as load_file
    from anykube.plan.model import Plan as Plan
    from anykube.plan.render import lines as plan_lines
    from anykube.plan.status import Status as Status
    from anykube.renewal import renew as renew_certificates
    from anykube.resetting import reset as reset
    from anykube.resetting import reset_machine as reset_machine
    from anykube.restore import restore as restore_backup
    from anykube.rotation import rotate as rotate_keys
    from anykube.run import Report as Report
    from anykube.safekeeping import create as create_backup
    from anykube.safekeeping import entries as list_backups
    from anykube.safekeeping import place_of as place_of_backups
    from anykube.safekeeping import verify as verify_backup
    from anykube.session import Folders as Folders
    from anykube.software import get_all as get_artifacts
    from anykube.software import listing as list_artifacts
    from anykube.software import verify_all as verify_artifacts
    from anykube.spec.load import load as load_text
    from anykube.spec.model import Cluster as Cluster
    from anykube.spec.nodes import Node as Node
    from anykube.spec.nodes import nodes as nodes
    from anykube.state.planfile import SavedPlan as SavedPlan
    from anykube.state.planfile import load_plan as load_plan
    from anykube.state.planfile import save_plan as save_plan
    from anykube.workflow import apply as apply
    from anykube.workflow import destroy as destroy
    from anykube.workflow import plan as make_plan
    from anykube.workflow import replace as replace
    from anykube.workflow import status as status
    from anykube.workflow import validate as validate

_HOMES = {
    "AdminKubeconfig": "anykube.access",
    "AnykubeError": "anykube.errors",
    "Check": "anykube.facts.checks",
    "Cluster": "anykube.spec.model",
    "Event": "anykube.events",
    "Folders": "anykube.session",
    "Node": "anykube.spec.nodes",
    "Plan": "anykube.plan.model",
    "Report": "anykube.run",
    "SavedPlan": "anykube.state.planfile",
    "SpecError": "anykube.errors",
    "Status": "anykube.plan.status",
    "StopFlag": "anykube.execute.engine",
    "Verdict": "anykube.facts.checks",
    "admin_kubeconfig": "anykube.access",
    "adopt_cluster": "anykube.adopt:adopt",
    "apply": "anykube.workflow",
    "create_backup": "anykube.safekeeping:create",
    "destroy": "anykube.workflow",
    "doctor": "anykube.checkup:checkup",
    "errors": "anykube.errors",
    "events": "anykube.events",
    "get_artifacts": "anykube.software:get_all",
    "journal_of": "anykube.access",
    "list_artifacts": "anykube.software:listing",
    "list_backups": "anykube.safekeeping:entries",
    "list_certificates": "anykube.certificates:certificates",
    "load_file": "anykube.objectfile",
    "load_plan": "anykube.state.planfile",
    "load_text": "anykube.spec.load:load",
    "make_plan": "anykube.workflow:plan",
    "nodes": "anykube.spec.nodes",
    "place_of_backups": "anykube.safekeeping:place_of",
    "plan_lines": "anykube.plan.render:lines",
    "renew_certificates": "anykube.renewal:renew",
    "replace": "anykube.workflow",
    "reset": "anykube.resetting",
    "reset_machine": "anykube.resetting",
    "restore_backup": "anykube.restore:restore",
    "rotate_keys": "anykube.rotation:rotate",
    "run_on": "anykube.access",
    "save_plan": "anykube.state.planfile",
    "status": "anykube.workflow",
    "validate": "anykube.workflow",
    "verify_artifacts": "anykube.software:verify_all",
    "verify_backup": "anykube.safekeeping:verify",
    "write_kubeconfig": "anykube.access",
}
"""Where each public name lives; after ':' its name there."""

__all__ = [
    "AdminKubeconfig",
    "AnykubeError",
    "Check",
    "Cluster",
    "Event",
    "Folders",
    "Node",
    "Plan",
    "Report",
    "SavedPlan",
    "SpecError",
    "Status",
    "StopFlag",
    "Verdict",
    "admin_kubeconfig",
    "adopt_cluster",
    "apply",
    "create_backup",
    "destroy",
    "doctor",
    "errors",
    "events",
    "get_artifacts",
    "journal_of",
    "list_artifacts",
    "list_backups",
    "list_certificates",
    "load_file",
    "load_plan",
    "load_text",
    "make_plan",
    "nodes",
    "place_of_backups",
    "plan_lines",
    "renew_certificates",
    "replace",
    "reset",
    "reset_machine",
    "restore_backup",
    "rotate_keys",
    "run_on",
    "save_plan",
    "status",
    "validate",
    "verify_artifacts",
    "verify_backup",
    "write_kubeconfig",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, _, inner = home.partition(":")
    loaded = import_module(module)
    value = loaded if module == f"{__name__}.{name}" and not inner else getattr(loaded, inner or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return __all__
