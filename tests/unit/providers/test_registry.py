"""Every provider that an object can name is registered."""

from __future__ import annotations

import sys
from subprocess import run

from anykube.providers import registry
from anykube.spec.model import Provider


def test_every_provider_of_the_object_is_registered() -> None:
    assert set(registry._PROVIDERS) == set(Provider.model_fields)


def test_providers_are_loaded_only_when_used() -> None:
    code = (
        "import sys, anykube.providers.registry;"
        "loaded = [name for name in sys.modules if name.startswith('anykube.providers.')];"
        "print([name for name in loaded if name.count('.') > 2])"
    )
    done = run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
