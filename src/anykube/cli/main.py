"""The `anykube` command: gathers the commands, turns errors into messages and exit statuses.

Exit statuses: 0 done, 1 error, 2 changes pending (plan --detailed-exitcode), 3 partly done, 4 locked,
64 usage, 130 interrupted.
"""

from __future__ import annotations

import io
import os
import signal
import sys

import typer

from anykube.cli import (
    adopt,
    apply,
    artifacts,
    backup,
    certs,
    completion,
    destroy,
    doctor,
    exec_,
    init,
    kubeconfig,
    logs,
    plan,
    recover,
    replace,
    reset,
    restore,
    rollback,
    scale,
    status,
    unlock,
    upgrade,
    validate,
    version,
)
from anykube.cli.printing import message
from anykube.errors import AnykubeError, SpecError, UsageError

NAME = "anykube"
COMPLETION = "_ANYKUBE_COMPLETE"
"""Set by the completion scripts: the program then answers what could come next."""
USAGE = 64
INTERRUPTED = 130

app = typer.Typer(
    name="anykube",
    help="Brings up and keeps Kubernetes clusters anywhere, from one cluster object.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("init")(init.command)
app.command("validate")(validate.command)
app.command("plan")(plan.command)
app.command("apply")(apply.command)
app.command("scale")(scale.command)
app.command("replace")(replace.command)
app.command("upgrade")(upgrade.command)
app.command("rollback")(rollback.command)
app.command("status")(status.command)
app.command("kubeconfig")(kubeconfig.command)
app.command("exec", context_settings={"ignore_unknown_options": True})(exec_.command)
app.command("logs")(logs.command)
app.command("doctor")(doctor.command)
app.command("recover")(recover.command)
app.command("restore")(restore.command)
app.command("adopt")(adopt.command)
app.command("unlock")(unlock.command)
app.command("reset")(reset.command)
app.command("destroy")(destroy.command)
app.add_typer(certs.app, name="certs")
app.add_typer(backup.app, name="backup")
app.add_typer(artifacts.app, name="artifacts")
app.command("completion")(completion.command)
app.command("version")(version.command)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script."""
    status = run(sys.argv[1:] if arguments is None else arguments)
    # What could be interrupted is over; one Ctrl-C more must not change how it ended.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(status)


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit status."""
    if COMPLETION in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
    try:
        _refuse_nul(arguments)
        status = app(arguments, prog_name=NAME, complete_var=COMPLETION, standalone_mode=False)
    except AnykubeError as error:
        message(f"{error}{_code(error)}")
        return error.exit_status
    except (KeyboardInterrupt, typer.Abort):
        message("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except Exception as error:
        return _usage_error(error)
    return status if isinstance(status, int) else 0


def _refuse_nul(arguments: list[str]) -> None:
    """No name or path can hold a NUL; every function below would fail in a way of its own."""
    if any("\0" in argument for argument in arguments):
        raise UsageError("An argument holds a NUL character.", remedy="give it without")


def _code(error: AnykubeError) -> str:
    """A line with the code, to look it up. Usage explains itself; problems of an object carry their own."""
    return "" if isinstance(error, UsageError | SpecError) else f"\n  code      {error.code}"


def _usage_error(error: Exception) -> int:
    """typer keeps its click inside; its usage errors are known by what they can do, the rest is a defect."""
    show = getattr(error, "show", None)
    if show is None:
        import traceback

        from anykube.errors import DefectError

        trace = "".join(traceback.format_exception(error)).rstrip().splitlines()
        message(str(DefectError(f"anykube failed: {error!r}", evidence=trace[-12:])))
        return 1
    said = io.StringIO()
    show(said)
    message(said.getvalue().rstrip("\n"))
    return USAGE
