"""The command line: one file a command. Heavy rooms are imported inside commands, so that --help is fast."""
