"""Certificates on a host: what the script prints, and what is read from it."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
from tests.unit.pki.strangers import KEY_PEM, pem

from anykube.errors import AnswerError
from anykube.facts import certificates
from anykube.facts.certificates import Where, named_by, parse, script

SECRET_LINE = KEY_PEM.splitlines()[1]


def listed(folder: Path) -> str:
    """What the script prints for the files of this folder, on this machine."""
    (argv_shell, argv_option, text, name) = script()
    for one in certificates.FOLDERS[1:]:
        text = text.replace(f" {one}", "")
    text = text.replace(certificates.FOLDERS[0], str(folder))
    done = subprocess.run([argv_shell, argv_option, text, name], capture_output=True, text=True, check=True)
    return done.stdout


def test_certificates_are_found_and_keys_are_never_printed(tmp_path: Path) -> None:
    (tmp_path / "both.pem").write_text(pem("one") + KEY_PEM + pem("two"))
    (tmp_path / "torn.crt").write_text("-----BEGIN CERTIFICATE-----\n" + KEY_PEM)
    (tmp_path / "own.key").write_text(KEY_PEM)
    held = base64.b64encode(pem("three").encode()).decode()
    (tmp_path / "admin.conf").write_text(
        f"users:\n- user:\n    client-certificate-data: {held}\n    client-key-data: {SECRET_LINE}\n"
    )
    (tmp_path / "kubelet.conf").write_text(
        f"users:\n- user:\n    client-certificate: {tmp_path}/both.pem\n    client-key: {tmp_path}/own.key\n"
    )
    text = listed(tmp_path)
    assert SECRET_LINE not in text
    found = {Path(file.path).name: file for file in parse("node", text).files}
    assert found["both.pem"].certificates == (pem("one"), pem("two"))
    assert found["admin.conf"].certificates == (pem("three"),)
    assert found["admin.conf"].where is Where.KUBECONFIG
    assert "torn.crt" not in found
    assert named_by(tuple(found.values())) == {str(tmp_path / "kubelet.conf"): (pem("one"), pem("two"))}


def test_a_host_without_certificates(tmp_path: Path) -> None:
    found = parse("node", f"a banner\n{listed(tmp_path)}")
    assert found.files == ()
    assert found.clock > 1_700_000_000


@pytest.mark.parametrize(
    "text",
    ["", "@end\n", "@anykube-certificates\n12\n", "@anykube-certificates\nnow\n@end\n", "x" * 5_000_000],
)
def test_what_is_no_answer_is_refused(text: str) -> None:
    with pytest.raises(AnswerError):
        parse("node", text)


def test_hostile_answers_do_no_harm() -> None:
    body = (
        "@file /etc/kubernetes/a.crt\n-----BEGIN CERTIFICATE-----\n\x1b[31m\n-----END CERTIFICATE-----\n"
        "@file \n= client-certificate-data: ====\n"
    )
    assert parse("node", f"@anykube-certificates\n12\n{body}@end\n").files == ()
