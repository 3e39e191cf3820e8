"""Steps and their order. Pure: spec, facts and record in, a plan out. The heart of the house."""
