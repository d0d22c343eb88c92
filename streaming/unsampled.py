"""Bundles without Beam's state sampler.

Beam starts a thread with every bundle that looks again and again at which operator is at work, and at the bundle's end
waits for it. Its pauses begin with 2 ms and grow by a fifth each (``statesampler_fast.pyx`` of Beam 2.48), so that wait
is about a tenth of the bundle's time, in which the JVM waits, too. PyFlink reports none of what it finds.
"""

import sys
from threading import current_thread
from typing import Any, Final

__all__ = ["stop_sampling"]

_UNSAMPLED: Final = "liveshelf_unsampled"


def stop_sampling() -> bool:
    """From the next bundle of this process on; safe to repeat.

    False where Beam does not run this process, or is made otherwise: then nothing is changed.
    """
    beam: Any = sys.modules.get("apache_beam.runners.worker.statesampler")
    sampler: Any = getattr(beam, "StateSampler", None)
    before: Any = getattr(sampler, "stop", None)
    if not (before and hasattr(sampler, "start") and hasattr(beam, "set_current_tracker")):
        return False
    if getattr(sampler.start, _UNSAMPLED, False):
        return True

    def start(self: Any) -> None:
        self.tracked_thread = current_thread()
        beam.set_current_tracker(self)
        setattr(self, _UNSAMPLED, True)
        self.started = True

    def stop(self: Any) -> None:
        if not self.__dict__.pop(_UNSAMPLED, False):  # its bundle began before: there is a thread to be ended
            before(self)
            return
        beam.set_current_tracker(None)
        self.finished = True

    setattr(start, _UNSAMPLED, True)
    sampler.start, sampler.stop = start, stop
    return True
