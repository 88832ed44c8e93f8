-- What the sealer signs, kept beside the records: tiles, seals, checkpoints, and where they were published.
-- None of it is trusted by a verifier that holds a checkpoint from elsewhere; all of it can be computed anew.
SET LOCAL ROLE piperoll_owner;

-- Full tiles (tlog-tiles, height 8) of the tree of chain `tree`, 0 for the seal log: 256 hashes, and the one that goes up.
CREATE TABLE audit.tile (
    tree smallint NOT NULL CHECK (tree >= 0),
    level smallint NOT NULL CHECK (level BETWEEN 0 AND 7),
    n bigint NOT NULL CHECK (n >= 0),
    hashes bytea NOT NULL CHECK (octet_length(hashes) = 8192),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    PRIMARY KEY (tree, level, n)
);

-- The seal log: each leaf lists every chain with its size and root (schemas/seal.py). `seal_no` is its place in the log.
CREATE TABLE audit.seal (
    seal_no bigint PRIMARY KEY CHECK (seal_no >= 0),
    sealed_us bigint NOT NULL,
    leaf bytea NOT NULL
);

-- Signed notes of the trees. `compared_size`: so many records of the chain were compared with Kafka before.
CREATE TABLE audit.checkpoint (
    tree smallint NOT NULL CHECK (tree >= 0),
    size bigint NOT NULL CHECK (size >= 0),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    note bytea NOT NULL,
    sealed_us bigint NOT NULL,
    seal_no bigint NOT NULL,
    compared_size bigint NOT NULL,
    PRIMARY KEY (tree, size)
);

-- What came back from a target that took a checkpoint of the seal log: cosignatures, timestamp tokens, object versions.
CREATE TABLE audit.publication (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target text NOT NULL,
    size bigint NOT NULL,
    published_us bigint NOT NULL,
    receipt bytea
);
CREATE INDEX publication_size ON audit.publication (target, size);

GRANT SELECT ON audit.tile, audit.seal, audit.checkpoint, audit.publication
    TO piperoll_writer, piperoll_sealer, piperoll_reporter;
GRANT INSERT ON audit.tile, audit.seal, audit.checkpoint, audit.publication TO piperoll_sealer;
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.tile EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.seal EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.checkpoint EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.publication EXECUTE FUNCTION audit.refuse_change();
ALTER TABLE audit.tile ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE audit.seal ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE audit.checkpoint ENABLE ALWAYS TRIGGER refuse_change;
ALTER TABLE audit.publication ENABLE ALWAYS TRIGGER refuse_change;
RESET ROLE;
