"""Personal fields that are encrypted under a key of their subject before an event is sent: all copies die with the key.

`token` is how a ciphertext stands in an event, `cipher` how it is made and opened, `places` where in an event fields
stand. Pure. The keys are `services.common.shredding`'s; deploy/docs/shredding.md has format and limits.
"""
