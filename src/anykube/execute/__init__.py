"""Doing what a plan says: the engine walks the steps, handlers perform effects, conditions are waited for."""
