"""Encrypts declared personal fields before an event is sent, under a key for each subject: when the key goes, every copy
goes with it. Apps that send over Kafka themselves: `door.open_door`."""
