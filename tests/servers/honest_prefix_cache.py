"""Computes only what a prompt does not share with an earlier choice."""

import prefixes
import server

server.Generator = prefixes.PrefixStore
server.main()
