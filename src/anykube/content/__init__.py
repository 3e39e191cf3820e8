"""The text put on machines, built as data. Pure: a node and what is known of it in, files and units out."""
