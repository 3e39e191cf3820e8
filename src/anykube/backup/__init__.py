"""Archives: how they are written, read, encrypted and proven. Nothing here talks to a cluster."""
