"""Write promptfoo's results again without what names the machine and what is there three times.

Usage: python strip_promptfoo.py RESULTS OUT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

document = json.loads(Path(sys.argv[1]).read_text("utf-8"))
document["config"] = {"description": document["config"]["description"]}
document["results"].pop("prompts")
for result in document["results"]["results"]:
    result["vars"].pop("chat")
    result["testCase"] = {"metadata": result["testCase"]["metadata"]}
    result["gradingResult"].pop("componentResults")
Path(sys.argv[2]).write_text(json.dumps(document), "utf-8")
