"""Transparency log formats: RFC 6962 trees and C2SP notes, checkpoints, cosignatures, tiles, proofs and policies.

Pure functions without I/O. Official vectors: `schemas/vectors/tlog/`.
"""
