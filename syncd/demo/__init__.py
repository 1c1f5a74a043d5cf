"""The demo firm: three systems on this machine that overlap and disagree like real ones, kept equal by the service."""
