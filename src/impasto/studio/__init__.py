"""The server: an HTTP API over jobs, and who may use it."""
