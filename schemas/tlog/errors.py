"""What can be wrong with a log's documents: they cannot be read, or what they say does not hold.

ValueError
├── MalformedError     not in the format: nobody can say what it claims
└── VerificationError  well-formed, and not true: a signature, a proof, a root, a quorum
"""


class MalformedError(ValueError):
    """The bytes are not in the format."""


class VerificationError(ValueError):
    """The bytes are in the format; what they claim does not hold."""
