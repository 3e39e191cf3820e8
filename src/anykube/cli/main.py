"""The `anykube` command: gathers the commands, turns errors into messages and exit statuses.

Exit statuses: 0 done, 1 error, 2 changes pending (plan --detailed-exitcode), 3 partly done, 4 locked,
64 usage, 130 interrupted.
"""

from __future__ import annotations

import sys

import typer

from anykube.cli import (
    apply,
    artifacts,
    completion,
    destroy,
    doctor,
    exec_,
    init,
    kubeconfig,
    logs,
    plan,
    status,
    validate,
    version,
)
from anykube.errors import AnykubeError

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
app.command("status")(status.command)
app.command("kubeconfig")(kubeconfig.command)
app.command("exec", context_settings={"ignore_unknown_options": True})(exec_.command)
app.command("logs")(logs.command)
app.command("doctor")(doctor.command)
app.command("destroy")(destroy.command)
app.add_typer(artifacts.app, name="artifacts")
app.command("completion")(completion.command)
app.command("version")(version.command)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit status."""
    try:
        status = app(arguments, prog_name="anykube", standalone_mode=False)
    except AnykubeError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except Exception as error:
        return _usage_error(error)
    return status if isinstance(status, int) else 0


def _usage_error(error: Exception) -> int:
    """typer keeps its click inside; its usage errors are known by what they can do, the rest is a defect."""
    show = getattr(error, "show", None)
    if show is None:
        import traceback

        from anykube.errors import DefectError

        trace = "".join(traceback.format_exception(error)).rstrip().splitlines()
        print(DefectError(f"anykube failed: {error!r}", evidence=trace[-12:]), file=sys.stderr)
        return 1
    show()
    return USAGE
