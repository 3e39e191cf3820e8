"""Secrets: certificate authorities, certificates and keys, made here and kept in private files."""
