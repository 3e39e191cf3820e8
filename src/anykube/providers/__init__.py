"""Machines come from here: one folder a provider. Providers do not know each other."""
