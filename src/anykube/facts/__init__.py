"""What is. Pure: frozen snapshots, the parsers that make them, and questions without I/O."""
