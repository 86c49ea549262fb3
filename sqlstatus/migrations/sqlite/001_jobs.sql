-- One row per job: its last status. ended is the final state and empty until there is one. What changes while a job
-- runs (state, version, texts, changed_at) is in no index. Times are milliseconds since 1970.
CREATE TABLE {table} (
	id           TEXT NOT NULL PRIMARY KEY,
	type         TEXT NOT NULL,
	queue        TEXT NOT NULL,
	topic        TEXT NOT NULL,
	state        TEXT NOT NULL,
	version      INTEGER NOT NULL,
	attempt      INTEGER NOT NULL,
	max_attempts INTEGER NOT NULL,
	crashes      INTEGER NOT NULL,
	progress     REAL NOT NULL,
	message      TEXT NOT NULL,
	error        TEXT NOT NULL,
	result       TEXT,             -- JSON, byte for byte as the handler gave it
	run_at       INTEGER,          -- when a scheduled or retrying job is due
	at           INTEGER NOT NULL, -- when the status was made, by its maker's clock
	envelope     BLOB,             -- the job as worker.EncodeJob writes it, until it has succeeded
	ended        TEXT,
	created_at   INTEGER NOT NULL, -- when the row came and when it last changed, by this database's clock
	changed_at   INTEGER NOT NULL
);

CREATE INDEX {index}_newest ON {table} (created_at, id);
CREATE INDEX {index}_topic ON {table} (topic, created_at, id);
CREATE INDEX {index}_unfinished ON {table} (created_at, id) WHERE ended IS NULL;
CREATE INDEX {index}_failed ON {table} (created_at, id) WHERE ended <> 'succeeded';

-- One row at most: who sweeps.
CREATE TABLE {sweep} (
	id         INTEGER PRIMARY KEY CHECK (id = 1),
	owner      TEXT NOT NULL,
	held_until INTEGER NOT NULL,
	ended_at   INTEGER -- when the last sweep ended
);
