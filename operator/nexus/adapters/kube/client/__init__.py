"""The API server: the port to it (`api`), the client over HTTP behind that (`http`), and how to get in (`access`)."""
