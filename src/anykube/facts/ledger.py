"""The ledger of a node: what anykube put there, and what that left, one line each.

Written on the node before the thing is made (execute/node_scripts.py), so that no interruption leaves
anything unaccounted for. A thing that was there before is somebody else's: it is not noted, and stays.
`reset` and `destroy` take away what the lines name (execute/clean_script.py), and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

PLACED: Mapping[str, str] = {
    # <path>: was not there before
    "file": "files",
    # <path>: somebody else's was there before; it is kept and comes back
    "original": "files that were there before: put back",
    # <path>: was not there before; goes once it is empty
    "directory": "folders",
    # <path> <mode> <owner>: of a folder that was there before
    "mode": "modes of folders: as before",
    # <name>: was started by us
    "unit": "units",
}
TRACES: Mapping[str, str] = {
    # <path>: was empty or absent; all that is in it goes
    "data": "folders with all that is in them",
    # <prefix>: all files whose path begins so
    "files": "files that begin with",
    # <path>: the folder of our namespace of containerd, in it one folder per container
    "containers": "containers",
    # <prefix>: all mounts whose path begins so
    "mounts": "mounts below",
    # <name>: a control group at the root, or the slice of that name
    "cgroup": "control groups",
    # <name>: a network device; routes through it go with it
    "device": "network devices",
    # <path>: routes to pods of other nodes, within the network that this file of flannel names
    "routes": "routes",
    # <family> <name>: a table of nftables
    "table": "nft tables",
    # <family> <name>: a table that iptables makes when it is asked; goes if nobody uses it
    "builtin": "empty tables of iptables",
    # <prefix>: chains of iptables, and the rules that lead there
    "chains": "iptables chains",
    # <name> <value>: a kernel setting as it was before; content declares 'sysctls <file>' for all in a file
    "sysctl": "kernel settings: as before",
    # <name>: a user and its group
    "user": "users",
}
"""What units leave while they run."""
KINDS: Mapping[str, str] = PLACED | TRACES
"""First word of a line, and how a plan names things of that kind."""
