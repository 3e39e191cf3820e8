"""What the user wants. Pure: text in, a frozen `Cluster` or all problems out."""
