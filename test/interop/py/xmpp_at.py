"""Runs a slixmpp program, unedited, against the broker of this run: such programs dial port 5222 of the domain.

    xmpp_at.py PROGRAM ARGUMENT...
"""

import os
import runpy
import sys

import slixmpp

HOST, PORT = (os.environ.get("XMPP_ADDR") or "127.0.0.1:5222").rsplit(":", 1)
dial = slixmpp.ClientXMPP.connect
slixmpp.ClientXMPP.connect = lambda self, *_, **named: dial(self, HOST, int(PORT), **named)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
