PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE event (
  seq INTEGER PRIMARY KEY, station TEXT NOT NULL, run TEXT NOT NULL, kind TEXT NOT NULL,
  utc_s REAL NOT NULL, test_time_s REAL, data TEXT NOT NULL);
INSERT INTO "event" VALUES(2,'A1','run-A1','step_started',1.79564805756285428999e+09,0.0,'{"step": 1, "step_count": 1, "cycle": 1, "kind": "charge", "text": "charge 1C until voltage >= 4.2 V"}');
INSERT INTO "event" VALUES(7,'A1','run-A1','paused',1.79564805763426351544e+09,3.18999999999980445855e+01,'{"reason": "ana"}');
CREATE TABLE keep (
  kind TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, data TEXT NOT NULL,
  PRIMARY KEY (kind, name)) WITHOUT ROWID;
INSERT INTO "keep" VALUES('checkpoint','run-A1',33,'{"engine": {"format": 1, "program": ["test", "9dcdb82c051d9eedff15cb644dbbce23978ba635b5a16323ce40b0886e8da8f6", "c1", 4], "settle_s": 1.0, "phase": "paused", "position": {"index": 1, "step_index": 1, "cycle": 1, "done_s": 0.0, "loops": [[0, 1]]}, "meter": {"time_s": 32.99999999999727, "start_s": 0.20000000000004547, "began_s": 0.20000000000004547, "stopped_s": 32.09999999999809, "_stamp_s": 32.99999999999727, "_current_A": 0.0, "_power_W": 0.0, "_charge_C": 79.874999999995, "_discharge_C": 0.0, "_charge_J": 295.5374999999815, "_discharge_J": 0.0, "_mark_charge_C": 0.0, "_mark_discharge_C": 0.0, "_mark_charge_J": 0.0, "_mark_discharge_J": 0.0}, "execution": {"live_since_s": 0.20000000000004547, "samples": 12, "settled": true, "soaked_since_s": null, "applied_A": 0.0}, "step_count": 1, "announced": true, "waiting_since_s": 0.0, "outcome": ""}, "utc_s": 1795648057.6451523, "charge": {"net_Ah": 0.022187499999998726, "lowest_Ah": 0.0}}');
INSERT INTO "keep" VALUES('trip','A2',34,'{"check": "V1", "message": "too high", "source": "aps2"}');
CREATE TABLE record (
  seq INTEGER PRIMARY KEY, station TEXT NOT NULL, run TEXT NOT NULL,
  test_time_s REAL NOT NULL, step_time_s REAL NOT NULL, utc_s REAL NOT NULL,
  voltage_V REAL, current_A REAL, temperature_degC REAL, chamber_degC REAL,
  cycle INTEGER NOT NULL, step INTEGER NOT NULL, step_count INTEGER NOT NULL,
  step_record INTEGER NOT NULL,
  charge_Ah REAL NOT NULL, discharge_Ah REAL NOT NULL,
  charge_Wh REAL NOT NULL, discharge_Wh REAL NOT NULL);
INSERT INTO "record" VALUES(1,'A1','',0.0,0.0,1.79564805573832678795e+09,3.7,0.0,25.0,NULL,0,0,0,0,0.0,0.0,0.0,0.0);
INSERT INTO "record" VALUES(3,'A1','run-A1',0.0,0.0,1.79564805756363391874e+09,3.7,2.5,25.0,NULL,1,1,1,1,0.0,0.0,0.0,0.0);
INSERT INTO "record" VALUES(4,'A1','run-A1',1.00000000000022737367e+01,1.00000000000022737367e+01,1.79564805759217333792e+09,3.7,2.5,25.0,NULL,1,1,1,2,6.94444444444602352467e-03,0.0,2.56944444444502859137e-02,0.0);
INSERT INTO "record" VALUES(5,'A1','run-A1',2.00000000000045474735e+01,2.00000000000045474735e+01,1.79564805760622239107e+09,3.7,2.5,25.0,NULL,1,1,1,3,1.38888888888920470493e-02,0.0,5.13888888889005718274e-02,0.0);
INSERT INTO "record" VALUES(6,'A1','run-A1',2.99999999999997726254e+01,2.99999999999997726254e+01,1.79564805763298583033e+09,3.7,2.5,25.0,NULL,1,1,1,4,2.08333333333331760517e-02,0.0,7.70833333333327541669e-02,0.0);
CREATE TABLE run (
  id TEXT PRIMARY KEY, station TEXT NOT NULL, cell TEXT NOT NULL, protocol TEXT NOT NULL,
  started_utc_s REAL NOT NULL, document TEXT NOT NULL, ended_utc_s REAL, outcome TEXT NOT NULL);
INSERT INTO "run" VALUES('run-A1','A1','c1','test',1000000000.0,'{"lab": {"name": "bench-3", "sha256": "of the lab file"}, "protocol": {"text": "protocol: test\nversion: 1.0.0\nrecord: {every: 10 s}\nsafety: {voltage: [2.6 V, 4.25 V], temperature: [5 degC, 50 degC], charge: 115 %}\nsteps:\n  - charge: 1C\n    until: voltage >= 4.2 V\n    at_most: 2 h\n  - rest: 10 min\n", "file": "t.yaml", "parameters": {}}, "cell": {"id": "c1", "nominal_capacity_Ah": 2.5, "chemistry": "NMC", "batch": "", "limits": {"voltage_V": [null, null], "current_A": [null, null], "temperature_degC": [null, null]}, "metadata": {}}}',NULL,'');
CREATE INDEX record_of_run ON record (run, seq);
CREATE INDEX event_of_run ON event (run, seq);
COMMIT;
