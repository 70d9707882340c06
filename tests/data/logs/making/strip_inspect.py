"""Write an Inspect log again with Inspect's own writer, without what no reader of ours looks at.

The events (the requests in full) are nine tenths of a log, and name the machine.

Usage: python strip_inspect.py LOG OUT (the ending of OUT, .eval or .json, says in which form)
"""

from __future__ import annotations

import sys

from inspect_ai.log import read_eval_log, write_eval_log

log = read_eval_log(sys.argv[1], resolve_attachments=True)
log.eval.revision = None
log.stats.connection_limit_history = []
for sample in log.samples or []:
    sample.events, sample.attachments = [], {}
    sample.messages = sample.messages[-1:]  # the others are the input again
write_eval_log(log, sys.argv[2])
