"""The tick: `step(state, inputs, t, config) -> (state, Decision)`, the only entry.

`tick` puts it together from the rest: `state` (what one tick hands to the next), `way` (which path counts), `judgement`
(of that path), `plans` (which of the policy's plans counts), `command` (what is executed).
"""

from safety_supervisor.core.supervisor.judgement import situated
from safety_supervisor.core.supervisor.state import Shift, State, start
from safety_supervisor.core.supervisor.tick import perceived, step
from safety_supervisor.core.supervisor.way import judged_path

__all__ = ["Shift", "State", "judged_path", "perceived", "situated", "start", "step"]
