"""The ledger of a node: what anykube put there, and what that left, one line each.

Written on the node before the thing is made (execute/node_scripts.py), so that no interruption leaves
anything unaccounted for. A thing that was there before is somebody else's: it is not noted, and stays.
`reset` and `destroy` take away what the lines name (execute/clean_script.py), and nothing else.
"""

from __future__ import annotations

KINDS = (
    # What is placed.
    "file",  # <path>: was not there before
    "original",  # <path>: somebody else's was there before; it is kept and comes back
    "directory",  # <path>: was not there before; goes once it is empty
    "mode",  # <path> <mode> <owner>: of a folder that was there before
    "unit",  # <name>: was started by us
    # What units leave while they run; content declares it (Component.traces).
    "data",  # <path>: a folder that was empty or absent; all that is in it goes
    "files",  # <prefix>: all files whose path begins so
    "containers",  # <path>: the folder of our namespace of containerd, in it one folder per container
    "mounts",  # <prefix>: all mounts whose path begins so
    "cgroup",  # <name>: a control group at the root, or the slice of that name
    "device",  # <name>: a network device; routes through it go with it
    "routes",  # <path>: routes to pods of other nodes, within the network that this file of flannel names
    "table",  # <family> <name>: a table of nftables
    "builtin",  # <family> <name>: a table that iptables makes when it is asked; goes if nobody uses it
    "chains",  # <prefix>: chains of iptables, and the rules that lead there
    "sysctl",  # <name> <value>: a kernel setting as it was; content names it, or 'sysctls <file>'
    "user",  # <name>: a user and its group; content names 'users <file>' (sysusers.d)
)
"""The first word of a line."""
