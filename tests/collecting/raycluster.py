"""A Ray cluster of two nodes on this machine; run as a script.

Prints its address, kills the second node when it reads ``kill``, and ends with its standard input.
"""

from __future__ import annotations

import os
import sys
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

from ray.cluster_utils import Cluster  # after the environment it reads

MEMORY = 80 * 2**20
# A dead node is missed after a few seconds instead of a quarter of a minute.
WATCH = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 1000,
         "health_check_timeout_ms": 2000, "health_check_failure_threshold": 3}  # fmt: skip

if __name__ == "__main__":
    head = {"num_cpus": 1, "object_store_memory": MEMORY, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head | {"_system_config": WATCH})
    second = cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    node: Any = cluster.head_node
    print(f"ready at {cluster.address} in {node.get_session_dir_path()}", flush=True)
    for line in sys.stdin:
        if line.strip() == "kill":
            cluster.remove_node(second, allow_graceful=False)
            print("killed", flush=True)
    cluster.shutdown()
