-- Archives get proofs: who orders a retention as piperoll_operator reads what was sealed.
SET LOCAL ROLE piperoll_owner;
GRANT SELECT ON audit.tile, audit.seal, audit.checkpoint, audit.publication TO piperoll_operator;
RESET ROLE;
