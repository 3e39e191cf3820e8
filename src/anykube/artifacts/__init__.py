"""Software for the nodes: where it comes from, how it is verified, and the store that keeps it by content."""
