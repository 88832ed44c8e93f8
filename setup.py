"""Builds schemas/_sha256.c where there is a C compiler, and goes on without it where there is none."""

from setuptools import Extension, setup

setup(ext_modules=[Extension("schemas._sha256", ["schemas/_sha256.c"], py_limited_api=True, optional=True)])
