"""Starts a program of a simulated host as its systemd would; run as a program by simulated_units.py.

Arguments: network namespace, folder tree, user id, group id, then the program and its arguments. The program
is killed when the process that simulates the host ends, however it ends.
"""

import ctypes
import os
import signal
import sys

NEW_NETWORK = 0x40000000
PARENT_DEATH_SIGNAL = 1


def main() -> None:
    """Become that program."""
    network, root, user, group, *command = sys.argv[1:]
    libc = ctypes.CDLL(None, use_errno=True)
    if network:
        descriptor = os.open(network, os.O_RDONLY)
        if libc.setns(descriptor, NEW_NETWORK):
            raise OSError(ctypes.get_errno(), "setns")
        os.close(descriptor)
    os.chroot(root)
    os.chdir("/")
    os.setgroups([])
    os.setgid(int(group))
    os.setuid(int(user))
    os.umask(0o022)
    # After the change of user, which forgets it.
    libc.prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
    os.execv(command[0], command)  # noqa: S606  no shell wanted


if __name__ == "__main__":
    main()
