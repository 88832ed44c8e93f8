"""HTTP to Kafka: takes events in and answers only when they are durable."""
