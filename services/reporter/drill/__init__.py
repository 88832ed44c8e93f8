"""The tamper drill: attacks a shadow copy of sealed chains in every way that the verifier claims to find."""
