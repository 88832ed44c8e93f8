-- Time anchors (records of kind 9) are looked for by every verification and take-over; there are few of them.
SET LOCAL ROLE piperoll_owner;
CREATE INDEX record_time_anchor ON audit.record (chain_no, seq) WHERE kind = 9;
RESET ROLE;
