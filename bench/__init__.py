"""How fast anykube is, beside what people use instead: ratios from one run on one machine."""
