-- The tables of the chains and who may do what with them.
-- Run by migrate.py as the database's creator, after the roles exist; everything is owned by piperoll_owner.
CREATE SCHEMA audit AUTHORIZATION piperoll_owner;
GRANT USAGE, CREATE ON SCHEMA public TO piperoll_owner;
SET LOCAL ROLE piperoll_owner;

-- Which migrations this database has; the checksum is SHA-256 over the file.
CREATE TABLE audit.migration (
    number integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One chain of records: a partition of audit.enriched, audit.annotations or audit.system.
-- For enriched events topic and topic_id are those of audit.events, whose offsets are the source offsets.
-- A lineage is a line: one first chain a topic and partition, and each chain is followed by one other at most.
CREATE TABLE audit.chain (
    chain_no smallint PRIMARY KEY CHECK (chain_no > 0),
    chain_id bytea NOT NULL UNIQUE CHECK (octet_length(chain_id) = 16),
    topic text NOT NULL,
    topic_id bytea NOT NULL CHECK (octet_length(topic_id) = 16),
    partition integer NOT NULL CHECK (partition >= 0),
    cluster_id text NOT NULL,
    previous smallint UNIQUE REFERENCES audit.chain,
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNIQUE INDEX chain_first ON audit.chain (topic, partition) WHERE previous IS NULL;
CREATE SEQUENCE audit.chain_number AS smallint OWNED BY audit.chain.chain_no;

-- Where a chain ends and where its writer reads on: the one kind of row that is ever changed, and only by functions.
CREATE TABLE audit.chain_head (
    chain_no smallint PRIMARY KEY REFERENCES audit.chain,
    next_seq bigint NOT NULL DEFAULT 0 CHECK (next_seq >= 0),
    last_hash bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex') CHECK (octet_length(last_hash) = 32),
    next_source_offset bigint NOT NULL,
    read_topic_id bytea NOT NULL CHECK (octet_length(read_topic_id) = 16),
    next_read_offset bigint NOT NULL,
    epoch integer NOT NULL DEFAULT 1 CHECK (epoch > 0),
    closed boolean NOT NULL DEFAULT false
) WITH (fillfactor = 50);

-- The records. `leaf` is the truth; the other columns are bytes of it, held to it by the checks.
-- One partition a chain, made by audit.open_chain.
CREATE TABLE audit.record (
    chain_no smallint NOT NULL,
    seq bigint NOT NULL,
    kind smallint NOT NULL,
    source_offset bigint,
    appended_us bigint NOT NULL,
    event_time_us bigint,
    identity_hash bigint,
    record_hash bytea NOT NULL,
    leaf bytea NOT NULL,
    PRIMARY KEY (chain_no, seq),
    UNIQUE (chain_no, source_offset),
    CONSTRAINT record_leaf_is_audit_rec_v1 CHECK (
        octet_length(leaf) = 227 AND substr(leaf, 1, 14) = '\x61756469742d7265632f76310a'::bytea || substr(int2send(kind), 2)
    ),
    CONSTRAINT record_hash_is_of_leaf CHECK (record_hash = sha256('\x00'::bytea || leaf)),
    CONSTRAINT record_seq_is_in_leaf CHECK (substr(leaf, 31, 8) = int8send(seq)),
    CONSTRAINT record_times_are_in_leaf CHECK (
        substr(leaf, 75, 8) = int8send(appended_us)
        AND substr(leaf, 100, 8) = int8send(coalesce(event_time_us, -9223372036854775808))
    ),
    CONSTRAINT record_source_offset_is_in_leaf CHECK (
        substr(leaf, 83, 8) = int8send(coalesce(source_offset, -9223372036854775808))
    )
) PARTITION BY LIST (chain_no);
CREATE INDEX record_identity ON audit.record (identity_hash);
CREATE INDEX record_appended ON audit.record USING brin (appended_us);

-- What the records commit to, erasable. No row for a record: its payload was erased. `body` is null where the value
-- was withheld (over the size limit). `original_salt` is a duplicate's: the salt of the commitment in its JSON.
-- Partitions by month, made ahead by audit.open_months; payload_default catches what no month takes.
CREATE TABLE audit.payload (
    chain_no smallint NOT NULL,
    seq bigint NOT NULL,
    appended_at timestamptz NOT NULL,
    salt bytea NOT NULL CHECK (octet_length(salt) = 32),
    body bytea,
    enrich_salt bytea CHECK (octet_length(enrich_salt) = 32),
    enrich bytea CHECK ((enrich IS NULL) = (enrich_salt IS NULL)),
    original_salt bytea CHECK (octet_length(original_salt) = 32),
    PRIMARY KEY (chain_no, seq, appended_at)
) PARTITION BY RANGE (appended_at);
CREATE TABLE audit.payload_default PARTITION OF audit.payload DEFAULT;

-- Which event each annotation (kind 7 record chain_no, seq) is about. An index only: the texts stand in payload.
CREATE TABLE audit.annotation (
    topic_id bytea NOT NULL CHECK (octet_length(topic_id) = 16),
    partition integer NOT NULL,
    source_offset bigint NOT NULL,
    chain_no smallint NOT NULL,
    seq bigint NOT NULL,
    appended_at timestamptz NOT NULL,
    PRIMARY KEY (topic_id, partition, source_offset, chain_no, seq)
);

-- Append-only, first lock: grants. The writer has no right on partitions and none to change anything.
REVOKE ALL ON SCHEMA audit FROM PUBLIC;
GRANT USAGE ON SCHEMA audit TO piperoll_writer, piperoll_sealer, piperoll_reporter, piperoll_eraser;
GRANT SELECT ON audit.migration, audit.chain, audit.chain_head, audit.record, audit.payload, audit.annotation
    TO piperoll_writer, piperoll_sealer, piperoll_reporter;
GRANT INSERT ON audit.record, audit.payload, audit.annotation TO piperoll_writer;
GRANT SELECT, DELETE ON audit.payload TO piperoll_eraser;
RESET ROLE;
