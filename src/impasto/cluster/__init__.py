"""Work shared out: processes of this machine, a Ray cluster or a Dask cluster, by one contract."""
