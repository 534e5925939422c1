"""A DoorLoop to try things on: seeded records, the list endpoints, faults and changes on command.

Read from ``server.py`` (what is served) through ``api.py`` (what is answered) to ``account.py`` (what is held).
"""
