"""anykube: brings up and keeps Kubernetes clusters anywhere."""
