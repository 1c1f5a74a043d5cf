"""The web process: health for machines, a status page for people."""

LISTEN_FD = "WEB_LISTEN_FD"
"""The variable that names the inherited socket when the supervisor has bound the address already."""
