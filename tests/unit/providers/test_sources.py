"""The distribution's own apt sources are found among others, in both formats, for the right suite."""

from __future__ import annotations

import pytest

from anykube.errors import ProviderError
from anykube.providers.lxc import sources

DEBIAN = """# a comment
Types: deb deb-src
# another
URIs: http://mirror.example/debian
Suites: trixie trixie-updates trixie-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/security
Suites: trixie-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""
VENDORS = """Types: deb
URIs: https://vendor.example/apt
Suites: trixie
Components: main
Signed-By: /usr/share/keyrings/vendor-archive-keyring.gpg

Types: deb
URIs: https://vendor.example/node
Suites: nodistro
Components: main

Types: deb
URIs: https://vendor.example/docker
Suites: trixie
Components: stable

Types: deb-src
URIs: http://mirror.example/sources
Suites: trixie
Components: main

Enabled: no
Types: deb
URIs: http://mirror.example/disabled
Suites: trixie
Components: main
"""
ONE_LINE = """
# deb http://mirror.example/commented jammy main
deb http://mirror.example/ubuntu jammy main restricted  # here
deb [signed-by=/usr/share/keyrings/ubuntu-archive-keyring.gpg] http://u2.example/u jammy-updates main
deb cdrom:[Ubuntu]/ jammy main
deb-src http://mirror.example/ubuntu jammy main
deb [signed-by=/etc/apt/keyrings/vendor.gpg] https://vendor.example/apt jammy main
"""


def test_the_own_archive_is_kept_and_all_others_are_left_out() -> None:
    found = sources.parse([("debian.sources", DEBIAN), ("x.sources", VENDORS)])
    text = sources.own(found, "debian", "trixie", "trixie")
    assert text == (
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie trixie-updates\n"
        "Components: main contrib\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        "\n"
        "Types: deb\nURIs: http://mirror.example/security\nSuites: trixie-security\n"
        "Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )


def test_an_older_suite_comes_from_the_same_archive() -> None:
    found = sources.parse([("debian.sources", DEBIAN)])
    text = sources.own(found, "debian", "trixie", "bookworm")
    assert "Suites: bookworm bookworm-updates\n" in text
    assert "Suites: bookworm-security\n" in text
    assert "trixie" not in text


def test_one_line_sources_and_universe() -> None:
    found = sources.parse([("sources.list", ONE_LINE)])
    text = sources.own(found, "ubuntu", "jammy", "jammy")
    assert text == (
        "Types: deb\nURIs: http://mirror.example/ubuntu\nSuites: jammy\n"
        "Components: main restricted universe\n"
        "\n"
        "Types: deb\nURIs: http://u2.example/u\nSuites: jammy-updates\nComponents: main universe\n"
        "Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg\n"
    )


def test_what_was_written_is_read_as_the_same() -> None:
    text = sources.own(sources.parse([("a.sources", DEBIAN)]), "debian", "trixie", "trixie")
    assert sources.own(sources.parse([("b.sources", text)]), "debian", "trixie", "trixie") == text


def test_a_key_inside_the_file_is_kept_whole() -> None:
    key = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n -----END PGP PUBLIC KEY BLOCK-----"
    stanza = f"Types: deb\nURIs: http://m.example/d\nSuites: trixie\nComponents: main\nSigned-By:\n {key}\n"
    text = sources.own(sources.parse([("a.sources", stanza)]), "debian", "trixie", "trixie")
    assert text.endswith(f"Signed-By: \n {key}\n")


def test_no_source_of_the_distribution() -> None:
    with pytest.raises(ProviderError, match="no apt source"):
        sources.own(sources.parse([("x.sources", VENDORS)]), "debian", "trixie", "trixie")


@pytest.mark.parametrize(
    ("distribution", "codename", "cgroup", "suite"),
    [
        ("debian", "bookworm", 1, "bookworm"),
        ("debian", "bookworm", 2, "bookworm"),
        ("debian", "bullseye", 1, "bullseye"),
        ("debian", "trixie", 1, "bookworm"),
        ("debian", "trixie", 2, "trixie"),
        ("debian", "forky", 2, "forky"),
        ("ubuntu", "noble", 1, "noble"),
        ("ubuntu", "noble", 2, "noble"),
        ("ubuntu", "resolute", 1, "noble"),
        ("ubuntu", "resolute", 2, "resolute"),
    ],
)
def test_the_suite_is_this_machines_unless_its_systemd_cannot_run_here(
    distribution: str, codename: str, cgroup: int, suite: str
) -> None:
    assert sources.suite(distribution, codename, cgroup) == suite


@pytest.mark.parametrize(("distribution", "codename"), [("fedora", "x"), ("", ""), ("debian", "")])
def test_other_distributions_are_refused(distribution: str, codename: str) -> None:
    with pytest.raises(ProviderError, match="Debian or Ubuntu"):
        sources.suite(distribution, codename, 2)
