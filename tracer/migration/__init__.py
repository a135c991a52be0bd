"""What changes for whom when kube-proxy is run in another mode: every Service asked before and after, each difference with its reason."""
