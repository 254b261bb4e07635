-- Tables for samples and events of any number of labs. Safe to run again.

CREATE TABLE IF NOT EXISTS daq_sample (
    "time" timestamptz NOT NULL,
    lab text NOT NULL,
    station text,
    run text, -- null for the slow records of an idle station
    seq bigint NOT NULL, -- given once by the lab's journal
    test_time_s double precision,
    step_time_s double precision,
    "voltage_V" double precision,
    "current_A" double precision, -- charging is positive
    "temperature_degC" double precision,
    "chamber_degC" double precision,
    cycle bigint,
    step bigint,
    step_count bigint,
    step_record bigint,
    "charge_Ah" double precision,
    "discharge_Ah" double precision,
    "charge_Wh" double precision,
    "discharge_Wh" double precision
);

CREATE TABLE IF NOT EXISTS daq_event (
    "time" timestamptz NOT NULL,
    lab text NOT NULL,
    station text, -- null for events of the daemon itself
    run text,
    kind text NOT NULL,
    seq bigint NOT NULL,
    test_time_s double precision,
    data text -- JSON
);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb') THEN
        CREATE EXTENSION IF NOT EXISTS timescaledb;
        PERFORM create_hypertable('daq_sample', 'time', if_not_exists => true);
        PERFORM create_hypertable('daq_event', 'time', if_not_exists => true);
    END IF;
END $$;

-- A hypertable's unique index must hold its time; the lab's journal gives each seq one time.
CREATE UNIQUE INDEX IF NOT EXISTS daq_sample_once ON daq_sample (lab, seq, "time");
CREATE UNIQUE INDEX IF NOT EXISTS daq_event_once ON daq_event (lab, seq, "time");
CREATE INDEX IF NOT EXISTS daq_sample_run ON daq_sample (run, test_time_s);

-- What was published comes again after an outage, with the same seq. Telegraf writes by COPY, which
-- knows no ON CONFLICT: one row that is there already would cost the whole batch.
CREATE OR REPLACE FUNCTION daq_once() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    there boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM %I.%I WHERE lab = $1 AND seq = $2 AND "time" = $3)',
                   TG_TABLE_SCHEMA, TG_ARGV[0]) INTO there USING NEW.lab, NEW.seq, NEW."time";
    IF there THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END $$;

DROP TRIGGER IF EXISTS daq_sample_once ON daq_sample;
CREATE TRIGGER daq_sample_once BEFORE INSERT ON daq_sample
    FOR EACH ROW EXECUTE FUNCTION daq_once('daq_sample');
DROP TRIGGER IF EXISTS daq_event_once ON daq_event;
CREATE TRIGGER daq_event_once BEFORE INSERT ON daq_event
    FOR EACH ROW EXECUTE FUNCTION daq_once('daq_event');
