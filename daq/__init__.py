"""battery-daq: instrument control and data acquisition for battery research."""
