"""The Kubernetes API, as far as anykube needs it. I/O: imported by observe and execute."""
