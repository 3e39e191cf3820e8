"""What an addon leaves behind goes when it is turned off: in order, shown, and nothing else."""

from __future__ import annotations

from anykube.plan.effects import DeleteObjects
from anykube.plan.model import Phase, PhasePlan, Plan, Step
from anykube.plan.removals import plan_removals, removed_addons

METRICS = {
    "ServiceAccount/kube-system/metrics-server": "metrics",
    "ClusterRole//system:metrics-server": "metrics",
    "Deployment/kube-system/metrics-server": "metrics",
    "APIService//v1beta1.metrics.k8s.io": "metrics",
}
DNS = {"Deployment/kube-system/coredns": "dns", "ConfigMap/kube-system/old": "dns"}


def planned(steps: tuple[Step, ...]) -> Plan:
    return Plan("demo", (PhasePlan(Phase.ADDONS, steps),))


def test_an_addon_that_is_off_goes_as_a_step_of_its_own() -> None:
    steps = plan_removals({**METRICS, **DNS}, {"Deployment/kube-system/coredns"}, {"core", "dns"}, ("a",))
    gone, prune = steps
    assert (gone.id, gone.needs) == ("cluster/metrics removed", ("a",))
    assert "kubectl top" in gone.disruption
    assert gone.effects == (
        DeleteObjects(
            (
                "APIService//v1beta1.metrics.k8s.io",
                "Deployment/kube-system/metrics-server",
                "ClusterRole//system:metrics-server",
                "ServiceAccount/kube-system/metrics-server",
            )
        ),
    )
    assert {change.reason for change in gone.changes} == {"the addon metrics is off"}
    assert prune.effects == (DeleteObjects(("ConfigMap/kube-system/old",)),)
    assert removed_addons(planned(steps)) == ("metrics",)


def test_nothing_is_left_over() -> None:
    steps = plan_removals(METRICS, METRICS.keys(), {"metrics"}, ())
    assert [step.skipped for step in steps] == [True]
    assert removed_addons(planned(steps)) == ()


def test_a_namespace_stays_as_others_may_have_put_things_into_it() -> None:
    inventory = {"Namespace//kube-flannel": "flannel", "DaemonSet/kube-flannel/kube-flannel": "flannel"}
    steps = plan_removals(inventory, (), (), ())
    assert steps[0].effects == (DeleteObjects(("DaemonSet/kube-flannel/kube-flannel",)),)
