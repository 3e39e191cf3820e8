"""What runs in the cluster from the start, as API objects. Pure: cluster object in, dicts out."""
