"""The sealer: extends a Merkle tree over each chain, compares with Kafka, signs checkpoints and publishes them."""
