-- heads: the open chain of each partition of a topic: which topic it is of, and how far it is
SELECT c.partition, c.topic_id, h.next_source_offset, h.read_topic_id, h.next_read_offset
FROM audit.chain c JOIN audit.chain_head h USING (chain_no)
WHERE c.topic = $1 AND NOT h.closed
ORDER BY c.partition;
