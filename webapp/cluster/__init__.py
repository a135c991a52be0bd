"""A Kubernetes cluster, read-only: the only place that imports the official client.

``connection`` lists, watches and runs programs in pods; ``permissions`` says what that needs; every error is a ``ClusterError``. Nothing is
imported here: the client takes longer to load than a page to answer, and most pages need none.
"""
