"""Many recordings and parameter sets at once: runs over Dask, results as Parquet, questions through DuckDB."""
