"""anykube init."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from anykube.spec.questions import Question
    from anykube.spec.template import Answers


def command(
    out: Annotated[
        Path | None,
        typer.Option("-f", "--file", metavar="FILE", help="Write here instead of standard output."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    defaults: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask; take the defaults.")] = False,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the cluster.")] = None,
    provider: Annotated[str | None, typer.Option(metavar="NAME", help="lxc or machines.")] = None,
    ssh_key: Annotated[
        str | None, typer.Option(metavar="FILE", help="Private SSH key of existing machines.")
    ] = None,
    topology: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="single, one-control-plane, high-availability or separate-etcd."),
    ] = None,
    control_planes: Annotated[
        str | None, typer.Option(metavar="COUNT", help="How many control planes.")
    ] = None,
    etcds: Annotated[str | None, typer.Option(metavar="COUNT", help="How many machines for etcd.")] = None,
    host: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="NAME [USER@]ADDRESS[:PORT] KEYTYPE KEY; may be repeated."),
    ] = None,
    workers: Annotated[str | None, typer.Option(metavar="COUNT", help="How many workers.")] = None,
    endpoint: Annotated[
        str | None, typer.Option(metavar="KIND", help="node-local, virtual-ip or external.")
    ] = None,
    endpoint_address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Address of a virtual-ip or external endpoint.")
    ] = None,
    control_plane_cpus: Annotated[
        str | None, typer.Option(metavar="COUNT", help="Processors of each control plane.")
    ] = None,
    control_plane_memory: Annotated[
        str | None, typer.Option(metavar="MIB", help="Its memory in MiB.")
    ] = None,
    worker_cpus: Annotated[
        str | None, typer.Option(metavar="COUNT", help="Processors of each worker.")
    ] = None,
    worker_memory: Annotated[
        str | None, typer.Option(metavar="MIB", help="Memory of each worker in MiB.")
    ] = None,
    kubernetes_version: Annotated[str | None, typer.Option(metavar="VERSION", help="Such as 1.36.3.")] = None,
    cni_backend: Annotated[str | None, typer.Option(metavar="NAME", help="vxlan or host-gw.")] = None,
    pods: Annotated[str | None, typer.Option(metavar="CIDR", help="Network of the pods.")] = None,
    services: Annotated[str | None, typer.Option(metavar="CIDR", help="Network of the Services.")] = None,
    subnet: Annotated[str | None, typer.Option(metavar="CIDR", help="Network of the nodes.")] = None,
    dns: Annotated[str | None, typer.Option(metavar="YES|NO", help="CoreDNS.")] = None,
    metrics: Annotated[str | None, typer.Option(metavar="YES|NO", help="metrics-server.")] = None,
) -> None:
    """Write a commented cluster object. On a terminal it asks; every question is also a flag."""
    given = {
        "--name": name,
        "--provider": provider,
        "--ssh-key": ssh_key,
        "--topology": topology,
        "--control-planes": control_planes,
        "--etcds": etcds,
        "--host": "\n".join(host) if host else None,
        "--workers": workers,
        "--endpoint": endpoint,
        "--endpoint-address": endpoint_address,
        "--control-plane-cpus": control_plane_cpus,
        "--control-plane-memory": control_plane_memory,
        "--worker-cpus": worker_cpus,
        "--worker-memory": worker_memory,
        "--kubernetes-version": kubernetes_version,
        "--cni-backend": cni_backend,
        "--pods": pods,
        "--services": services,
        "--subnet": subnet,
        "--dns": dns,
        "--metrics": metrics,
    }
    _write(_answered({flag: text for flag, text in given.items() if text is not None}, defaults), out, force)


def _answered(given: dict[str, str], defaults: bool) -> str:
    import sys

    from anykube.errors import UsageError
    from anykube.spec.questions import QUESTIONS
    from anykube.spec.template import Answers, render

    asking = not defaults and sys.stdin.isatty() and sys.stderr.isatty()
    answers = Answers()
    for question in QUESTIONS:
        if not question.applies(answers):
            if question.flag in given:
                raise UsageError(f"{question.flag} does not fit the other answers.", remedy="leave it away")
            continue
        text = given.get(question.flag)
        try:
            if text is not None:
                answers = question.answer(answers, text)
            elif asking:
                answers = _ask(question, answers)
            else:
                answers = question.answer(answers, "")
        except ValueError as error:
            raise UsageError(f"{question.flag}: {error}", remedy="correct that answer") from error
    return render(answers)


def _ask(question: Question, answers: Answers) -> Answers:
    """Ask on the terminal (stderr, because stdout may be the file), until the answer is one."""
    import sys

    import questionary
    from prompt_toolkit.output import create_output

    output = create_output(stdout=sys.stderr)
    if question.kind == "choice":
        prompt = questionary.select(
            question.prompt, choices=list(question.choices), default=question.default, output=output
        )
    else:
        prompt = questionary.text(
            question.prompt,
            default=question.default,
            multiline=question.kind == "hosts",
            validate=lambda text: question.check(text, answers) or True,
            output=output,
        )
    text = prompt.unsafe_ask()
    return question.answer(answers, str(text))


def _write(text: str, out: Path | None, force: bool) -> None:
    from anykube.cli.printing import message
    from anykube.errors import UsageError
    from anykube.state.files import write_file

    if out is None:
        print(text, end="")
        return
    try:
        write_file(out, text.encode(), replace=force)
    except FileExistsError:
        raise UsageError(f"{out} exists.", remedy="give another name, or --force to replace it") from None
    message(f"Wrote {out}. Next: anykube plan -f {out}, then anykube apply -f {out}")
