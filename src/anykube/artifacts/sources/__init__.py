"""Where software comes from: one module for each source, all behind the protocol in base.py."""
