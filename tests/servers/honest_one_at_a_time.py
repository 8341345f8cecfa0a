"""Serves one choice after the other."""

import generation
import server

generation.Generator.slots = 1
server.main()
