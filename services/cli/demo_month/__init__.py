"""A believable month of audit events of one invented company, by seed: the same seed gives the same bytes.

company.py    who works there, when, and from where
days.py       the month: working days, local hours, the draw of a moment
people.py     what people do: sign in, look at records, export, administer
everyday.py   consents, payments, overridden models: one of each now and then
machines.py   what machines do: inferences, deployments, nightly jobs
cloudtrail.py what the cloud account logs, as bare JSON
drafts.py     an event as it is thought of; messages.py: as it is sent
incident.py   the night an administrator's account was taken over
flaws.py      what goes wrong on the way: repeats, missing fields, unreadable messages
month.py      all of it in the order in which it is sent
"""
