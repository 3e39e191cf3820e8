"""Read-only probes: the world in, facts out. I/O, and nothing it does changes anything."""
