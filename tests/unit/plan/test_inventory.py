"""What `anykube certs` thinks of a certificate: by its date, by what is kept, by what is served."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from anykube.content.node import certificate_paths
from anykube.facts.certificates import Sighting, Where
from anykube.facts.secrets import CertificateFacts
from anykube.plan.inventory import Inventory, Port, Row, State, inventory

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NODE = "demo-cp-1"


def certificate(
    name: str, age: float, left: float, *, issuer: str = "ca", authority: bool = False
) -> CertificateFacts:
    """A certificate that began `age` days ago and has `left` days left; its fingerprint is its name."""
    return CertificateFacts(
        common_name=name,
        organizations=(),
        dns_names=(),
        addresses=(),
        server=True,
        client=True,
        authority=authority,
        not_before=NOW - timedelta(days=age),
        not_after=NOW + timedelta(days=left),
        issuer=issuer,
        fingerprint=name,
    )


CA = certificate("ca", 100, 3550, authority=True)
APISERVER = certificate("apiserver", 10, 355)
KEPT = {"ca/cluster": CA, f"nodes/{NODE}/apiserver": APISERVER}
PATH = "/etc/kubernetes/pki/apiserver.crt"
PORT = Port(NODE, "kube-apiserver", "10.0.0.1", 6443, (f"nodes/{NODE}/apiserver",))
OWN = Port(NODE, "kube-scheduler", "127.0.0.1", 10259)


def judged(*seen: Sighting, kept: dict[str, CertificateFacts] = KEPT, external: bool = False) -> Inventory:
    return inventory(NOW, kept, seen, [PORT, OWN], {}, external=external)


def only(found: Inventory, where: Where) -> Row:
    (row,) = [row for row in found.rows if row.where is where and row.state is not State.MISSING]
    return row


def file(found: CertificateFacts | None, path: str = PATH, trouble: str = "") -> Sighting:
    return Sighting(NODE, Where.FILE, path, found, trouble)


def shown(found: CertificateFacts | None, port: Port = PORT, trouble: str = "") -> Sighting:
    return Sighting(NODE, Where.PORT, port.place, found, trouble)


@pytest.mark.parametrize(
    ("age", "left", "state"),
    [
        (10, 355, State.OK),
        (243, 122, State.OK),
        (244, 121, State.DUE),
        (364, 0.001, State.DUE),
        (365, 0, State.ENDED),
        (-1, 365, State.EARLY),
    ],
)
def test_by_its_date(age: float, left: float, state: State) -> None:
    leaf = certificate("leaf", age, left)
    found = judged(kept={"ca/cluster": CA, "users/admin": leaf})
    (row,) = [row for row in found.rows if row.place == "users/admin"]
    assert row.state is state
    assert found.healthy is (state is State.OK)


@pytest.mark.parametrize(("left", "state"), [(366, State.OK), (364, State.DUE), (0, State.ENDED)])
def test_an_authority_is_due_a_year_ahead_as_leaves_cannot_outlive_it(left: float, state: State) -> None:
    found = judged(kept={"ca/cluster": certificate("ca", 3650 - left, left, authority=True)})
    assert only(found, Where.KEPT).state is state


def test_one_that_ends_with_its_authority_is_told_with_that() -> None:
    ca = certificate("ca", 3640, 10, authority=True)
    found = judged(kept={"ca/cluster": ca, "users/admin": certificate("leaf", 300, 10)})
    states = {row.place: (row.state, row.note) for row in found.rows}
    assert states["users/admin"] == (State.OK, "ends with its CA")
    assert states["ca/cluster"][0] is State.DUE


def test_a_file_must_be_what_is_kept() -> None:
    assert only(judged(file(APISERVER)), Where.FILE).state is State.OK
    assert only(judged(file(replace(APISERVER, fingerprint="other"))), Where.FILE).state is State.DIFFERS


def test_files_of_others_are_shown_and_are_nobody_s_trouble() -> None:
    foreign = certificate("ended long ago", 400, -35, issuer="")
    found = judged(file(foreign, "/etc/kubernetes/theirs.pem"))
    row = next(row for row in found.rows if row.place == "/etc/kubernetes/theirs.pem")
    assert (row.state, row.note) == (State.STRANGER, "ended 35 days ago")


def test_a_file_that_is_not_there_is_missing() -> None:
    found = judged(file(CA, "/etc/kubernetes/pki/ca.crt"))
    missing = [row.place for row in found.rows if row.state is State.MISSING]
    assert missing == [PATH]
    assert certificate_paths(NODE)[PATH] == f"nodes/{NODE}/apiserver"


def test_a_process_that_did_not_take_the_new_one_over_is_found() -> None:
    older = replace(APISERVER, fingerprint="older")
    assert only(judged(shown(APISERVER)), Where.PORT).state is State.OK
    row = only(judged(shown(older)), Where.PORT)
    assert (row.state, row.note) == (State.OLDER, f"anykube certs renew {NODE}")
    somebody = replace(older, issuer="")
    assert only(judged(shown(somebody)), Where.PORT).state is State.DIFFERS


def test_what_a_process_makes_itself_counts_by_its_date_only() -> None:
    own = certificate("localhost", 10, 355, issuer="")
    assert only(judged(shown(own, OWN)), Where.PORT).state is State.OK
    late = only(judged(shown(certificate("localhost", 300, 65, issuer=""), OWN)), Where.PORT)
    assert (late.state, late.note) == (State.DUE, "kube-scheduler makes a new one when it restarts")


def test_what_does_not_answer_is_a_row_and_not_well() -> None:
    found = judged(file(None, "", "no SSH connection"))
    row = only(found, Where.FILE)
    assert (row.state, row.note) == (State.UNSEEN, "no SSH connection")
    assert not found.healthy
    assert not [row for row in found.rows if row.state is State.MISSING], "nobody knows"


def test_of_external_authorities_others_sign() -> None:
    found = judged(kept={"ca/cluster": CA, "users/admin": certificate("leaf", 300, 60)}, external=True)
    assert {row.note for row in found.rows if row.state is State.DUE} == {"anykube certs requests"}


def test_the_calendar_tells_months_in_order() -> None:
    found = judged(kept={**KEPT, "users/admin": certificate("leaf", 1, 5)})
    assert list(found.calendar()) == ["2026-11", "2027-11", "2036-08"]


def test_a_clock_that_differs_is_told_with_what_it_means() -> None:
    found = inventory(NOW, KEPT, [], [], {"near": 2.0, "late": -400 * 86400.0})
    (note,) = found.notes
    assert note.startswith(
        "the clock of late differs by -34560000 s: by it 2 of 2 certificates are not valid"
    )
