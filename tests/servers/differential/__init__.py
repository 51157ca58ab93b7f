"""Compares two FHIR servers: the same random requests to both, and the answers side by side.

One is a real HAPI FHIR server, the other the local FHIR server of a generated repository. A
sequence of requests is made from a seed, so a difference that was found once can be found again.
"""
