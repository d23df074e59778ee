"""A Dask cluster, as in tests/teacher."""

from tests.teacher.conftest import dask

__all__ = ["dask"]
