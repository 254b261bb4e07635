"""Commands by the thousand, as of a runaway script.

python flooder.py PORT LAB SECONDS RATE [VERB…]
"""

from __future__ import annotations

import json
import sys
import time

import paho.mqtt.client as mqtt

BATCH_S = 0.01


def main() -> None:
    port, lab, seconds, rate = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", port)
    client.loop_start()
    verbs = sys.argv[5:] or ["resume", "status", "clear", "nonsense"]
    began = time.monotonic()
    sent = 0
    while (elapsed_s := time.monotonic() - began) < seconds:
        now = time.time()
        for _ in range(int(min(elapsed_s * rate - sent, 5 * rate * BATCH_S))):
            sent += 1
            command = {"id": f"f{sent}", "client": f"flood-{sent % 3}", "station": "A2"}
            payload = json.dumps(command | {"issued": now, "expires": now + 20})
            verb = verbs[sent % len(verbs)]
            client.publish(f"daq/{lab}/cmd/{verb}", payload, qos=0)
        time.sleep(BATCH_S)
    print(sent / (time.monotonic() - began))
    client.disconnect()
    client.loop_stop()


if __name__ == "__main__":
    main()
