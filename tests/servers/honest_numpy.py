"""Computes in float32 with numpy, sixteen choices in turn."""

import server

server.main()
