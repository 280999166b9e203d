"""The texts by which people hear of a run: which events are told, when, and in which words."""
