"""kube-proxy's programming as a model: API objects and a proxy's configuration → the text that a node's own tools would print.

Pure: no rules are read here but by ``drift``, which holds a node's recorded text against the model's.
What is modelled, of which versions, and where it differs from recordings: docs/kube-proxy-model.md.
"""
