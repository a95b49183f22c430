"""What the signals add up to: windows, runs, links and levels of every subject, in bounded memory.

Pure: it knows no database and no network. It does not detect anything; it answers questions exactly, with "too little
to tell" as an answer of its own.
"""

from watchkeeper.signals.state.config import StateConfig
from watchkeeper.signals.state.levels import MAX_POINTS
from watchkeeper.signals.state.runs import RunView
from watchkeeper.signals.state.state import SignalState
from watchkeeper.signals.state.tally import StepSum, Tally

__all__ = ["MAX_POINTS", "RunView", "SignalState", "StateConfig", "StepSum", "Tally"]
