"""Worlds with a known answer, as files that the ordinary sources read."""
