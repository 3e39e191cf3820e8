"""Of many lines of a journal, the one error that explains it."""

from __future__ import annotations

from anykube.execute.evidence import LONGEST, loudest_error

KLOG = 'E1120 18:47:{:02}.964133     599 kubelet.go:3262] "Unable" err="x509: certificate has expired: {}"'


def test_errors_that_differ_in_numbers_are_one() -> None:
    lines = [KLOG.format(second, second) for second in range(40)]
    lines += ["I1120 18:47:18.964133     599 kubelet.go:1] all well", "E1120 18:47:19.1     599 a.go:1] once"]
    found = loudest_error("\n".join(lines))
    assert found.startswith("40 times: ")
    assert "x509: certificate has expired" in found


def test_structured_logs_count_too() -> None:
    text = 'time="2026" level=error msg="no space left"\n{"level":"fatal","msg":"x"}\n' * 3
    assert loudest_error(text).startswith("3 times: ")


def test_no_error_says_nothing_and_long_ones_are_cut() -> None:
    assert loudest_error("I1120 all well\nnoise") == ""
    assert len(loudest_error("E1120 18:47:19.1     599 a.go:1] " + "x" * 5000)) <= LONGEST + 20
