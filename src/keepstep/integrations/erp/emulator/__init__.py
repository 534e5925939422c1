"""An ERP to try things on: invented data, a login, reports that it renders itself, faults and changes on command.

Read from ``server.py`` (what is served) through ``desk.py`` (what is answered) and ``press.py`` (how a report is
printed) to ``ledger.py`` (what is held).
"""
