"""The spec, the contract of the data and the requests and results of the stages. Imports no other layer."""

__version__ = "0.1.0"
