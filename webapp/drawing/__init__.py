"""From a graph to a picture: Graphviz lays out, shapes and curves are ours."""
