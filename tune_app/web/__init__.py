"""The service: an HTTP API and live pages over the results store. Imports neither torch nor ray."""
