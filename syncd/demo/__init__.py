"""The demo firm: three systems that overlap and disagree like real ones, kept equal by the real service."""

from syncd.demo.story import StoryFailed, once
from syncd.demo.systems import up

__all__ = ["StoryFailed", "once", "up"]
