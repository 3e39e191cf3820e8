"""Machines as LXC containers on this machine, made with the plain `lxc-*` commands.

host.py        what this machine is: cgroup version, distribution, its apt sources
sources.py     pure: the distribution's own apt sources, for the suite that fits
recipe.py      pure: what is in the root file system of a node
addressing.py  pure: bridge name, subnet, addresses
config.py      pure: the text of a node's files and of its container configuration
layout.py      where everything is on disk; the notes kept beside what was made
rootfs.py  software.py  images.py  network.py    the shared parts
machine.py     one container: made, started, measured, removed
provider.py    the Provider interface over all of this
"""
