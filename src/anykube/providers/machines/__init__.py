"""Machines that exist already and answer SSH: nothing is made, nothing is removed."""
