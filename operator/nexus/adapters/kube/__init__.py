"""The Kubernetes API server: the port (`api`), the client behind it (`client`), and how it gets in (`access`)."""
