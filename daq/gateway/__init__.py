"""The gateway: a process of its own between the journal and the MQTT broker."""
