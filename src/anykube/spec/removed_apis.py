"""APIs that a Kubernetes minor version does not serve and the one before did, with kinds.

Written by scripts/removed_apis.py; read by observe/removed_apis.py.
"""

from __future__ import annotations

from collections.abc import Mapping

REMOVED: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "1.35": {
        "apidiscovery.k8s.io/v2beta1": ("APIGroupDiscovery",),
        "certificates.k8s.io/v1alpha1": ("PodCertificateRequest",),
        "storage.k8s.io/v1alpha1": ("VolumeAttributesClass",),
        "storagemigration.k8s.io/v1alpha1": ("StorageVersionMigration",),
    },
    "1.36": {},
}
