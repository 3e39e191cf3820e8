"""The narrow door to a host: run, put, close."""
