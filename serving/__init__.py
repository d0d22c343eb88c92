"""Serving: the collector of events, the recommendation API, and the storefront page that shows both.

``shelf`` and ``collector`` are pure; ``reader`` and ``ladder`` talk to the stores; ``api`` and ``app`` speak HTTP.
"""
