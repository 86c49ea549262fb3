-- One row per job: its last status. ended is the final state and empty until there is one. What changes while a job
-- runs (state, version, texts, changed_at) is in no index, so that these updates stay within their page (HOT): half of
-- each page is kept free for them.
CREATE TABLE {table} (
	id           text COLLATE "C" PRIMARY KEY,
	type         text COLLATE "C" NOT NULL,
	queue        text COLLATE "C" NOT NULL,
	topic        text COLLATE "C" NOT NULL,
	state        text COLLATE "C" NOT NULL,
	version      bigint NOT NULL,
	attempt      bigint NOT NULL,
	max_attempts bigint NOT NULL,
	crashes      bigint NOT NULL,
	progress     double precision NOT NULL,
	message      text NOT NULL,
	error        text NOT NULL,
	result       text,                 -- JSON, byte for byte as the handler gave it
	run_at       timestamptz,          -- when a scheduled or retrying job is due
	at           timestamptz NOT NULL, -- when the status was made, by its maker's clock
	envelope     bytea,                -- the job as worker.EncodeJob writes it, until it has succeeded
	ended        text COLLATE "C",
	created_at   timestamptz NOT NULL, -- when the row came and when it last changed, by this database's clock
	changed_at   timestamptz NOT NULL
) WITH (fillfactor = 50);

CREATE INDEX {index}_newest ON {table} (created_at);
CREATE INDEX {index}_topic ON {table} (topic, created_at);
CREATE INDEX {index}_unfinished ON {table} (created_at) WHERE ended IS NULL;
CREATE INDEX {index}_failed ON {table} (created_at) WHERE ended <> 'succeeded';

-- One row at most: who sweeps.
CREATE TABLE {sweep} (
	id         smallint PRIMARY KEY CHECK (id = 1),
	owner      text NOT NULL,
	held_until timestamptz NOT NULL,
	ended_at   timestamptz -- when the last sweep ended
);
